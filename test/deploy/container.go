package deploy

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The two ends of the wire between the host and a container. RFC 2544 sets such addresses aside.
const (
	hostAddr      = "198.18.0.1"
	containerAddr = "198.18.0.2"
)

// Container is the files of an image, its user, and a network that a wire connects with that of the test. It
// is how an engine runs an image, without one: what a published port leads to is containerAddr.
type Container struct {
	root, user string
	network    string // process id of what keeps it
}

// NewContainer makes a container that ends with the test.
func NewContainer(t *testing.T, image *Image, user string) *Container {
	t.Helper()
	keeper := exec.Command("unshare", "--net", "sleep", "infinity")
	keeper.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := keeper.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = keeper.Process.Kill()
		_ = keeper.Wait()
	})
	c := &Container{root: image.Root, user: user, network: strconv.Itoa(keeper.Process.Pid)}
	within(t, "network of the container", func() error {
		name, err := os.ReadFile("/proc/" + c.network + "/comm")
		if err == nil && string(name) != "sleep\n" {
			return fmt.Errorf("unshare is not done: %s", name)
		}
		return err
	})
	inside := "nsenter --net --target " + c.network + " ip "
	for _, command := range []string{
		"ip link add wire type veth peer name eth0 netns " + c.network,
		"ip address add " + hostAddr + "/30 dev wire",
		"ip link set wire up",
		inside + "address add " + containerAddr + "/30 dev eth0",
		inside + "link set eth0 up",
		inside + "link set lo up",
	} {
		words := strings.Fields(command)
		if output, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", command, err, output)
		}
	}
	// The kernel may take a second to see that the wire has two ends, and drops what is sent before.
	within(t, "wire", func() error {
		links, err := exec.Command("nsenter", "--net", "--target", c.network, "ip", "link").Output()
		if err == nil && !strings.Contains(string(links), "state UP") {
			return fmt.Errorf("it is not up:\n%s", links)
		}
		return err
	})
	return c
}

// Mount has a file of the host in the container.
func (c *Container) Mount(t *testing.T, from, to string) {
	t.Helper()
	copyFile(t, from, filepath.Join(c.root, to))
}

// Exec is a command that runs in the container.
func (c *Container) Exec(args ...string) *exec.Cmd {
	enter := []string{"--net", "--target", c.network, "chroot", "--userspec=" + c.user, "--groups=", c.root}
	cmd := exec.Command("nsenter", append(enter, args...)...)
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Start runs a command until the test ends.
func (c *Container) Start(t *testing.T, args ...string) {
	t.Helper()
	cmd := c.Exec(args...)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v", args, err)
		}
		if t.Failed() {
			t.Logf("the container said:\n%s", output.String())
		}
	})
}
