//go:build !unix

package redistest

// Pause skips the test: a process cannot be stopped here and go on later.
func (s *Server) Pause() {
	s.t.Skip("this test stops a Redis server by a signal that this system does not have")
}

// Resume follows Pause, and is not reached.
func (s *Server) Resume() {}
