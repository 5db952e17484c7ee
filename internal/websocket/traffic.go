package websocket

import "sync/atomic"

// Traffic counts the messages of several WebSockets and their payload. The zero value is ready.
type Traffic struct {
	BytesIn, BytesOut       atomic.Uint64
	MessagesIn, MessagesOut atomic.Uint64
}
