package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/outline-cli-ws/outline-cli-ws/internal/socksaddr"
)

const (
	queryEvery = 250 * time.Millisecond
	queryTime  = 2 * time.Second // an answer that takes longer is lost
	udpHeader  = 3               // RFC 1928, section 7: before the address
)

// query is one of an association.
type query struct {
	sent time.Duration // since the run began
	took time.Duration // 0: no answer
}

func (q query) lost() bool { return q.took == 0 || q.took > queryTime }

// association is one application that asks a name server again and again from one port, as long as it lives.
type association struct {
	control net.Conn
	conn    net.Conn
	began   time.Time

	mu      sync.Mutex
	queries []query // by number, which is their id
	ended   error   // why the client ended the association
}

// openAssociation opens one through the client.
func openAssociation(proxy string, began time.Time) (*association, error) {
	control, err := net.DialTimeout("tcp", proxy, answerTime)
	if err != nil {
		return nil, err
	}
	_ = control.SetDeadline(time.Now().Add(answerTime))
	relay, err := ask(control, associate, "0.0.0.0:0")
	if err != nil {
		_ = control.Close()
		return nil, fmt.Errorf("UDP ASSOCIATE: %w", err)
	}
	_ = control.SetDeadline(time.Time{})
	conn, err := net.Dial("udp", relay.String())
	if err != nil {
		_ = control.Close()
		return nil, err
	}
	return &association{control: control, conn: conn, began: began}, nil
}

// run asks until ctx ends, and then waits for the last answers.
func (a *association) run(ctx context.Context) {
	var reading sync.WaitGroup
	reading.Go(a.read)
	reading.Go(a.watch)
	ticker := time.NewTicker(queryEvery)
	defer ticker.Stop()
	for ctx.Err() == nil {
		select {
		case <-ticker.C:
			a.ask()
		case <-ctx.Done():
		}
	}
	<-time.After(queryTime)
	_ = a.conn.Close()
	_ = a.control.SetDeadline(time.Unix(1, 0))
	reading.Wait()
	_ = a.control.Close()
}

// watch waits for the end of the association, which is not the client's to choose.
func (a *association) watch() {
	_, err := a.control.Read(make([]byte, 1))
	if errors.Is(err, os.ErrDeadlineExceeded) { // we did
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = fmt.Errorf("the client ended the association: %w", err)
}

func (a *association) ask() {
	a.mu.Lock()
	id := uint16(len(a.queries))
	a.queries = append(a.queries, query{sent: time.Since(a.began)})
	a.mu.Unlock()
	m := dnsmessage.Message{
		Header: dnsmessage.Header{ID: id, RecursionDesired: true},
		Questions: []dnsmessage.Question{{
			Name: dnsmessage.MustNewName("chaos.test."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET,
		}},
	}
	target, err := socksaddr.Parse(nameServer)
	if err != nil {
		return
	}
	datagram, err := m.AppendPack(target.Append(make([]byte, udpHeader)))
	if err == nil {
		_, _ = a.conn.Write(datagram) // one that is not sent is lost
	}
}

func (a *association) read() {
	buf := make([]byte, 2<<10)
	for {
		n, err := a.conn.Read(buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			<-time.After(queryEvery) // such as ICMP: the port of the association is not there
			continue
		}
		a.answer(buf[:n])
	}
}

func (a *association) answer(datagram []byte) {
	if len(datagram) < udpHeader {
		return
	}
	_, message, err := socksaddr.Cut(datagram[udpHeader:])
	if err != nil || len(message) < 2 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	id := int(binary.BigEndian.Uint16(message))
	if id < len(a.queries) && a.queries[id].took == 0 {
		a.queries[id].took = time.Since(a.began) - a.queries[id].sent
	}
}
