// Package standin tests what lies in Redis without Redis: on miniredis, which is Go and
// runs in the test. It is for machines that have no redis-server; CI has one.
package standin
