// A chat hub in Go with gorilla/websocket, built as the server is whose classic protocol Switchboard speaks: one
// goroutine with a map, channels to it, and for each connection a channel, a read pump and a write pump. Nothing is
// stored and nothing else is done.
//
//	hub --listen 127.0.0.1:8888 [--send-buffer 256]
//
// That server's channels hold nothing; those of gorilla's own chat example hold 256 messages.
package main

import (
	"flag"
	"log"
	"net/http"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/encoding/protowire"
)

// The field `to` of the classic protocol's message.
const fieldTo = 4

type client struct {
	user string
	conn *websocket.Conn
	send chan []byte
}

type hub struct {
	clients    map[string]*client
	register   chan *client
	unregister chan *client
	broadcast  chan []byte
}

func (h *hub) run() {
	for {
		select {
		case c := <-h.register:
			h.clients[c.user] = c
			c.send <- []byte("welcome")
		case c := <-h.unregister:
			if h.clients[c.user] == c {
				h.evict(c)
			}
		case message := <-h.broadcast:
			to, ok := recipient(message)
			if !ok {
				continue
			}
			if to != "" {
				if c, ok := h.clients[to]; ok {
					c.send <- message
				}
				continue
			}
			for _, c := range h.clients {
				select {
				case c.send <- message:
				default:
					h.evict(c)
				}
			}
		}
	}
}

func (h *hub) evict(c *client) {
	close(c.send)
	delete(h.clients, c.user)
}

func (c *client) readPump(h *hub) {
	defer func() {
		h.unregister <- c
		c.conn.Close()
	}()
	for {
		_, message, err := c.conn.ReadMessage()
		if err != nil {
			return
		}
		h.broadcast <- message
	}
}

func (c *client) writePump() {
	defer c.conn.Close()
	for message := range c.send {
		// A write that fails is followed by a read that fails, which ends the connection.
		_ = c.conn.WriteMessage(websocket.BinaryMessage, message)
	}
}

// Whom a message is for, empty for everybody; false if it cannot be read.
func recipient(message []byte) (to string, ok bool) {
	for len(message) > 0 {
		field, wire, n := protowire.ConsumeTag(message)
		if n < 0 {
			return "", false
		}
		message = message[n:]
		if field == fieldTo && wire == protowire.BytesType {
			var value []byte
			if value, n = protowire.ConsumeBytes(message); n >= 0 {
				to = string(value)
			}
		} else {
			n = protowire.ConsumeFieldValue(field, wire, message)
		}
		if n < 0 {
			return "", false
		}
		message = message[n:]
	}
	return to, true
}

func main() {
	listen := flag.String("listen", "127.0.0.1:8888", "where to listen, ADDRESS:PORT")
	buffer := flag.Int("send-buffer", 0, "messages that a connection's channel holds")
	flag.Parse()
	h := &hub{
		clients:    map[string]*client{},
		register:   make(chan *client),
		unregister: make(chan *client),
		broadcast:  make(chan []byte),
	}
	go h.run()
	upgrader := websocket.Upgrader{CheckOrigin: func(*http.Request) bool { return true }}
	http.HandleFunc("/socket.io", func(w http.ResponseWriter, r *http.Request) {
		user := r.URL.Query().Get("user")
		if user == "" {
			http.Error(w, "whose connection?", http.StatusBadRequest)
			return
		}
		conn, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return
		}
		c := &client{user: user, conn: conn, send: make(chan []byte, *buffer)}
		h.register <- c
		go c.readPump(h)
		go c.writePump()
	})
	log.Fatal(http.ListenAndServe(*listen, nil))
}
