package tun

import "testing"

func TestVirtioHeader(t *testing.T) {
	for name, tc := range map[string]struct {
		header  virtioHeader
		trusted bool
	}{
		"complete":      {virtioHeader{}, false},
		"verified":      {virtioHeader{flags: virtioChecked}, true},
		"no checksum":   {virtioHeader{flags: virtioNeedsChecksum, checksumStart: 20}, true},
		"super-segment": {virtioHeader{virtioNeedsChecksum, virtioTCPv6, 72, 1428, 40, 16}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var b [virtioLen]byte
			tc.header.put(&b)
			if got := parseVirtio(&b); got != tc.header {
				t.Errorf("parseVirtio(put(%+v)) = %+v", tc.header, got)
			}
			if got := tc.header.trusted(); got != tc.trusted {
				t.Errorf("trusted() = %v, want %v", got, tc.trusted)
			}
		})
	}
}

func FuzzVirtioHeader(f *testing.F) {
	f.Add([]byte{1, 4, 72, 0, 148, 5, 40, 0, 16, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var want, got [virtioLen]byte
		copy(want[:], b)
		parseVirtio(&want).put(&got)
		if got != want {
			t.Errorf("put(parseVirtio(%v)) = %v", want, got)
		}
	})
}
