package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/scsguard/scsguard/auditlog"
)

func TestPCI10_5_1_WhatACaseNeedsIsKeptFromRetention(t *testing.T) {
	p := newPlace(t)
	log := p.open(func(cfg *auditlog.Config) { cfg.SegmentBytes = 1024 })
	write(t, log, "one", "two", "three", "four", "five", "six")
	require.NoError(t, log.Close())
	segments, err := filepath.Glob(filepath.Join(p.trail, "*", "*.log"))
	require.NoError(t, err)
	require.Greater(t, len(segments), 2)

	r := cli("hold", p.trail, "--from", "1", "--case", "case 7")
	require.Equal(t, exitOK, r.code, r.stderr)
	held := filepath.Join(p.trail, strings.TrimSpace(r.stdout))
	require.Equal(t, segments[0], held)
	mark, err := os.ReadFile(strings.TrimSuffix(held, ".log") + ".hold")
	require.NoError(t, err)
	require.Equal(t, "case 7\n", string(mark))

	time.Sleep(2 * time.Millisecond)
	log = p.open()
	removed, err := log.Expire(context.Background(), auditlog.Expiry{OlderThan: time.Nanosecond, Short: true, Policy: "now"})
	require.NoError(t, err)
	require.NoError(t, log.Close())
	require.Len(t, removed, len(segments)-1)
	require.FileExists(t, held)
	require.NotEqual(t, exitTamper, p.verify().code)

	for _, wrong := range [][]string{{}, {"--from", "1"}, {"--case", "x"}, {"--from", "3", "--to", "2", "--case", "x"}, {"--from", "-1", "--case", "x"}} {
		require.Equal(t, exitUsage, cli(append([]string{"hold", p.trail}, wrong...)...).code, wrong)
	}
}
