package deploy

import (
	"fmt"
	"io"
	"net"
	"time"

	"golang.org/x/net/proxy"
)

// flow sends a few bytes through a SOCKS5 proxy to a target that echoes them.
func flow(through, target string) error {
	dialer, err := proxy.SOCKS5("tcp", through, nil, &net.Dialer{Timeout: patience})
	if err != nil {
		return err
	}
	conn, err := dialer.Dial("tcp", target)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		return err
	}
	answer := make([]byte, len("hello"))
	if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "hello" {
		return fmt.Errorf("answer = %q, %w", answer, err)
	}
	return nil
}
