package auditlog

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard"
	"github.com/scsguard/scsguard/sinktest"
)

var _ scsguard.Sink = (*Log)(nil)

func TestALogIsASink(t *testing.T) {
	sinktest.Run(t, func(t *testing.T) sinktest.Opened {
		disk := &faultyDisk{}
		cfg := config(t.TempDir())
		cfg.OpenFile = disk.open
		l := open(t, cfg)
		read := func() ([][]byte, error) {
			rep, err := Verify(context.Background(), cfg.Dir, VerifyOptions{Keys: []string{rootVerifier(t)}})
			if err != nil || !rep.Intact() {
				return nil, errors.Join(err, errors.New("not intact"))
			}
			var list [][]byte
			for r, err := range rep.Records(context.Background()) {
				if err != nil {
					return nil, err
				}
				if !r.Own {
					list = append(list, r.Clone().Event)
				}
			}
			return list, nil
		}
		fail := func(failing bool) {
			if failing {
				disk.set(errIO, nil, false)
			} else {
				disk.set(nil, nil, false)
				require.Eventually(t, func() bool { return l.Health().Writable }, 5*maxReopen, minReopen/10)
			}
		}
		return sinktest.Opened{Sink: l, Read: read, Fail: fail}
	})
}
