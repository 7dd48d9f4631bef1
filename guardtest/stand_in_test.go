package guardtest_test

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// standIn is a testing.TB that records what a helper reports. Methods it does not
// have panic: a helper must not need them.
type standIn struct {
	testing.TB

	mu       sync.Mutex
	messages []string
	cleanups []func()
}

func (s *standIn) Helper() {}

func (s *standIn) Errorf(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(s.messages, fmt.Sprintf(format, args...))
}

func (s *standIn) Fatalf(format string, args ...any) {
	s.Errorf(format, args...)
	runtime.Goexit()
}

func (s *standIn) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// reports runs f as a test and returns what it was told.
func reports(f func(testing.TB)) []string {
	s := &standIn{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			for i := len(s.cleanups) - 1; i >= 0; i-- {
				s.cleanups[i]()
			}
		}()
		f(s)
	}()
	<-done
	return s.messages
}

// wantReport demands one report with all of these words.
func wantReport(t *testing.T, messages []string, words ...string) {
	t.Helper()
	require.NotEmpty(t, messages, "nothing was reported")
	for _, w := range words {
		require.Contains(t, messages[0], w)
	}
	require.True(t, strings.HasPrefix(messages[0], "guardtest: "), messages[0])
}
