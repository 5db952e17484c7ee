package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// MemoryAuto is a memory_limit that follows the one of the control group, if that has one.
const MemoryAuto = -1

// leastMemory is the least with which the program was seen to live under load; its text alone is 12 MiB.
const leastMemory = 48 << 20

// units of a size, by their names in lower case.
var units = []struct {
	name string
	size int64
}{{"kib", 1 << 10}, {"mib", 1 << 20}, {"gib", 1 << 30}}

// memoryLimit is a size of at least leastMemory, 0, or auto.
func memoryLimit(into *int64) field {
	return scalar[int64]{into, "a size like 64MiB", func(s string) (int64, error) {
		if strings.EqualFold(s, "auto") {
			return MemoryAuto, nil
		}
		n, err := parseSize(s)
		if err == nil && n != 0 && n < leastMemory {
			return 0, wrong("must be %s or more; 0 is no limit", sizeText(leastMemory))
		}
		return n, err
	}}
}

// parseSize reads a whole number of bytes. What is not 0 needs a unit.
func parseSize(s string) (int64, error) {
	digits, unit := s, int64(1)
	for _, u := range units {
		if before, found := strings.CutSuffix(strings.ToLower(s), u.name); found {
			digits, unit = strings.TrimSpace(before), u.size
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange), n > math.MaxInt64/uint64(unit):
		return 0, wrong("is more than any machine has")
	case err != nil:
		return 0, errType
	case n > 0 && unit == 1:
		return 0, &mistake{"got a number, want a size like 64MiB", "add a unit: KiB, MiB or GiB"}
	}
	return int64(n) * unit, nil
}

func sizeText(n int64) string { return fmt.Sprintf("%dMiB", n>>20) }
