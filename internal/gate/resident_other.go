//go:build !linux

package gate

// Resident is what the Go runtime has of the system.
func (m *runtimeMemory) Resident() int64 { return m.mapped() }
