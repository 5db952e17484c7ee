package h3

import (
	"testing"
	"time"

	"github.com/quic-go/quic-go"
)

func TestMarkOf(t *testing.T) {
	long := "\xc3\x00\x00\x00\x01\x08ABCDEFGH\x04wxyz and more"
	tests := []struct {
		name     string
		a, b     string // are they of one mark?
		same, ok bool
	}{
		{"long header", long, "\xcf\x00\x00\x00\x01\x08ABCDEFGH", true, true},
		{"another connection", long, "\xc3\x00\x00\x00\x01\x08ABCDEFGX", false, true},
		{"another version tells nothing", long, "\xc3\x6b\x33\x43\xcf\x08ABCDEFGH", true, true},
		{"short header", "\x41ABCD123", "\x53ABCD456", true, true},
		{"short header of another connection", "\x41ABCD123", "\x41ABCX123", false, true},
		{"too little of a long header", long[:13], long[:13], true, false},
		{"too little of a short header", "\x41ABC", "\x41ABC", true, false},
		{"no packet", "", "", true, false},
	}
	for _, tt := range tests {
		a, ok := markOf([]byte(tt.a))
		b, _ := markOf([]byte(tt.b))
		if ok != tt.ok || (a == b) != tt.same {
			t.Errorf("%s: marks = %x, %x, %v, want the same: %v, %v", tt.name, a, b, ok, tt.same, tt.ok)
		}
	}
}

// hasCome empties the channel and reports whether there was a refusal in it.
func (r *refusals) hasCome() bool {
	select {
	case <-r.came:
		return true
	default:
		return false
	}
}

func TestRefusals(t *testing.T) {
	const ours, others = "\x41ABCD and more", "\x41EFGH and more"
	tests := []struct {
		name        string
		heard       bool
		quote       string
		fails, came bool
	}{
		{"in the handshake", false, ours, true, false},
		{"forged in the handshake", false, others, false, false},
		{"without a quote", false, "", false, false},
		{"after the server's answer", true, ours, false, true},
		{"forged", true, others, false, false},
	}
	for _, tt := range tests {
		failed := false
		r := refusals{unheard: func() { failed = true }, came: make(chan struct{}, 1)}
		r.heard.Store(tt.heard)
		r.sent([]byte(ours))
		for range 2 {
			r.take([]byte(tt.quote))
		}
		if came := r.hasCome(); failed != tt.fails || came != tt.came {
			t.Errorf("%s: failed %v, came %v, want %v, %v", tt.name, failed, came, tt.fails, tt.came)
		}
		if r.hasCome() {
			t.Errorf("%s: two refusals wait, want one at most", tt.name)
		}
	}
}

func TestDoubt(t *testing.T) {
	const s = time.Second
	type step struct {
		at      time.Duration
		packets uint64 // of the server
		event   string // "refused", or "asks" when the server is asked for that; "" is none
		want    string // "trust", "doubt" or "gone"
	}
	tests := []struct {
		name  string
		steps []step
	}{
		{"no refusal", []step{{0, 5, "", "trust"}, {9 * s, 5, "", "trust"}}},
		{"the server answers", []step{{0, 5, "asks", "doubt"}, {1, 6, "", "trust"}}},
		{"gone", []step{{0, 5, "asks", "doubt"}, {1, 5, "refused", "doubt"}, {s, 5, "", "gone"}}},
		{"too early", []step{{0, 5, "asks", "doubt"}, {s - 1, 5, "refused", "doubt"}}},
		{"refused but once", []step{{0, 5, "asks", "doubt"}, {9 * s, 5, "", "doubt"}}},
		{"refused once more later", []step{{0, 5, "asks", "doubt"}, {9 * s, 5, "refused", "gone"}}},
		{"before the first packet", []step{
			{0, 0, "asks", "doubt"}, {1, 0, "refused", "doubt"}, {s, 0, "", "gone"},
		}},
		{"a new doubt is a new question", []step{
			{0, 5, "asks", "doubt"},
			{1, 5, "refused", "doubt"},
			{s / 2, 6, "asks", "doubt"},
			{s / 2, 6, "refused", "doubt"},
			{s, 6, "", "doubt"},
			{s + s/2, 6, "", "gone"},
		}},
		{"nobody is gone who was not asked", []step{
			{0, 5, "asks", "doubt"},
			{1, 6, "refused", "doubt"},
			{2, 6, "refused", "doubt"},
			{9 * s, 6, "", "doubt"},
			{9 * s, 6, "asks", "doubt"},
			{10 * s, 6, "", "gone"},
		}},
	}
	for _, tt := range tests {
		var d doubt
		begin := time.Now()
		for i, step := range tt.steps {
			now := begin.Add(step.at)
			if step.event != "" {
				if asks := d.refuse(step.packets, now); asks != (step.event == "asks") {
					t.Errorf("%s: step %d: refuse = %v, want %s", tt.name, i, asks, step.event)
				}
			}
			got := "trust"
			if d.holds(step.packets) {
				got = "doubt"
			}
			if d.proves(step.packets, now, doubtTime) {
				got = "gone"
			}
			if got != step.want {
				t.Errorf("%s: step %d: %s, want %s", tt.name, i, got, step.want)
			}
		}
	}
}

func TestDoubtLastsLongerOnASlowPath(t *testing.T) {
	tests := []struct{ rtt, vary, want time.Duration }{
		{time.Millisecond, time.Millisecond, doubtTime},
		{600 * time.Millisecond, 100 * time.Millisecond, 4 * 1025 * time.Millisecond},
	}
	for _, tt := range tests {
		stats := quic.ConnectionStats{SmoothedRTT: tt.rtt, MeanDeviation: tt.vary}
		if got := doubtFor(stats); got != tt.want {
			t.Errorf("doubtFor(%v, %v) = %v, want %v", tt.rtt, tt.vary, got, tt.want)
		}
	}
}
