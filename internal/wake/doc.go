// Package wake tells when this host's network or clock has changed.
//
// It says that something happened, not what: whoever is told looks for himself. On Linux the kernel reports
// changes of the network by netlink (rtnetlink(7)). Elsewhere, and where netlink is not to be had, only the
// clock is watched.
package wake
