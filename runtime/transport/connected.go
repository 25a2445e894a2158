package transport

import "google.golang.org/grpc/connectivity"

// Connected reports whether the connection stands now. One that was never used
// begins to connect.
func (c *Client) Connected() bool {
	state := c.conn.GetState()
	if state == connectivity.Idle {
		c.conn.Connect()
	}
	return state == connectivity.Ready
}
