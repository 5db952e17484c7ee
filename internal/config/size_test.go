package config

import "testing"

func TestMemoryLimit(t *testing.T) {
	const want = "want a size like 64MiB"
	const least = "must be 48MiB or more; 0 is no limit"
	tests := []struct {
		value string
		want  any
	}{
		{"64MiB", int64(64 << 20)},
		{"64 mib", int64(64 << 20)},
		{"65536KiB", int64(64 << 20)},
		{"2GiB", int64(2 << 30)},
		{"48MiB", int64(48 << 20)},
		{"0", int64(0)},
		{"0MiB", int64(0)},
		{"auto", int64(MemoryAuto)},
		{"Auto", int64(MemoryAuto)},
		{"null", int64(MemoryAuto)},
		{"47MiB", least},
		{"1KiB", least},
		{"64", "got a number, " + want},
		{"67108864", "got a number, " + want},
		{"-1", "got a number, " + want},
		{"-64MiB", "got text, " + want},
		{"1.5GiB", "got text, " + want},
		{"64MB", "got text, " + want},
		{"MiB", "got text, " + want},
		{`""`, "got empty text, " + want},
		{"yes", "got text, " + want},
		{"[64MiB]", "got a list, " + want},
		{"8589934591GiB", int64(8589934591) << 30},
		{"8589934592GiB", "is more than any machine has"},
		{"99999999999999999999GiB", "is more than any machine has"},
	}
	for _, tt := range tests {
		t.Run(tt.value, func(t *testing.T) {
			got := outcome(t, "memory_limit", tt.value, func(c *Config) any { return c.MemoryLimit })
			if got != tt.want {
				t.Errorf("memory_limit: %s gives %v, want %v", tt.value, got, tt.want)
			}
		})
	}
}

func TestMemoryLimitSaysWhere(t *testing.T) {
	_, err := Parse("config.yaml", []byte("log: {level: info}\nmemory_limit: 64"+minimal), Checks{})
	const want = "config.yaml:2: memory_limit: got a number, want a size like 64MiB; " +
		"add a unit: KiB, MiB or GiB"
	if err == nil || err.Error() != want {
		t.Errorf("Parse = %v, want %s", err, want)
	}
}
