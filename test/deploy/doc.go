// Package deploy tests what is in the folder deploy, and what README.md and the other pages tell their reader
// to type: TestPages does it as written, in an empty folder and from top to bottom, and finds commands that
// no test runs. The image is built, and run in a network of its own, without an engine; the gateway for
// Kubernetes is read by the schema of its kinds.
//
// systemd gets a machine of its own, in namespaces: processes, mounts, network and control groups are not
// those of the host, and its files are a layer over the host's that is thrown away. That needs root. A test
// whose programs or rights are missing is skipped, or fails when DEPLOY_REQUIRE=1 is set.
package deploy
