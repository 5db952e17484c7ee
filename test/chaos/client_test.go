package main

import "testing"

func TestFollow(t *testing.T) {
	f := newFollower()
	for _, line := range []string{
		`{"msg":"listening","inbound":"socks5","addr":"127.0.0.1:1080"}`,
		`{"msg":"listening","inbound":"socks5","addr":"[::1]:1080"}`,
		`{"msg":"upstream switched","proto":"tcp","upstream":"a","from":"","reason":"first"}`,
		`{"msg":"upstream switched","proto":"udp","upstream":"b","from":"","reason":"first"}`,
		`{"msg":"upstream switched","proto":"tcp","upstream":"c","from":"a","reason":"down"}`,
		`{"msg":"flow closed","upstream":"a","err":"\"upstream switched\""}`,
		`panic: "upstream switched"`,
	} {
		f.follow([]byte(line + "\n"))
	}
	select {
	case <-f.listening:
	default:
		t.Error("it does not listen")
	}
	if f.address() != "127.0.0.1:1080" || f.upstream("tcp") != "c" || f.upstream("udp") != "b" ||
		f.upstream("other") != "" {
		t.Errorf("address %s, current %v", f.address(), f.current)
	}
	if got := f.switches(); got["tcp"] != 1 || got["udp"] != 0 {
		t.Errorf("switches = %v", got)
	}
}
