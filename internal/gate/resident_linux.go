package gate

import (
	"fmt"
	"os"
)

// Resident counts the pages of our own, and not those of files, which the kernel can drop
// (proc_pid_statm(5)).
func (m *runtimeMemory) Resident() int64 {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return m.mapped()
	}
	var size, resident, shared int64
	if _, err := fmt.Sscan(string(text), &size, &resident, &shared); err != nil {
		return m.mapped()
	}
	return (resident - shared) * int64(os.Getpagesize())
}
