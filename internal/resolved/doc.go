// Package resolved tells systemd-resolved which name servers a device has, over D-Bus.
//
// It is the same as resolvectl(1) does with dns, domain and default-route. Nothing has to be taken back after
// a crash: resolved forgets what it knows of a device that is gone.
//
// Of D-Bus it speaks what these calls need, see https://dbus.freedesktop.org/doc/dbus-specification.html.
package resolved
