// What Go programs do with etcd, through its own client: `clientv3 ENDPOINTS` does it all against the members given, and prints OK.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
)

const (
	// The test puts this key after it has taken a member away.
	killed      = "{failover}/killed"
	watched     = "{failover}/go/"
	writesAfter = 20
)

func main() {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            strings.Split(os.Args[1], ","),
		DialTimeout:          5 * time.Second,
		DialKeepAliveTime:    2 * time.Second,
		DialKeepAliveTimeout: 2 * time.Second,
	})
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 120*time.Second)
	defer cancel()
	keys(ctx, client)
	leases(ctx, client)
	locks(ctx, client)
	elections(ctx, client)
	stm(ctx, client)
	failover(ctx, client)
	must(client.Close())
	fmt.Println("OK")
}

func keys(ctx context.Context, client *clientv3.Client) {
	put, err := client.Put(ctx, "go/a", "1")
	must(err)
	got, err := client.Get(ctx, "go/a")
	must(err)
	check(string(got.Kvs[0].Value) == "1", "get")
	txn, err := client.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision("go/a"), "=", put.Header.Revision)).
		Then(clientv3.OpPut("go/a", "2"), clientv3.OpGet("go/a")).
		Else(clientv3.OpGet("go/a")).
		Commit()
	must(err)
	check(txn.Succeeded && string(txn.Responses[1].GetResponseRange().Kvs[0].Value) == "2", "txn")
	deleted, err := client.Delete(ctx, "go/a", clientv3.WithPrevKV())
	must(err)
	check(deleted.Deleted == 1 && string(deleted.PrevKvs[0].Value) == "2", "delete")
}

func leases(ctx context.Context, client *clientv3.Client) {
	lease, err := client.Grant(ctx, 2)
	must(err)
	_, err = client.Put(ctx, "go/leased", "x", clientv3.WithLease(lease.ID))
	must(err)
	once, err := client.KeepAliveOnce(ctx, lease.ID)
	must(err)
	check(once.TTL == 2, "keep-alive")
	watch := client.Watch(ctx, "go/leased", clientv3.WithRev(once.Revision))
	for response := range watch {
		for _, event := range response.Events {
			if event.Type == clientv3.EventTypeDelete {
				return
			}
		}
	}
	check(false, "the key of an expired lease")
}

func locks(ctx context.Context, client *clientv3.Client) {
	first, err := concurrency.NewSession(client)
	must(err)
	second, err := concurrency.NewSession(client)
	must(err)
	held := concurrency.NewMutex(first, "go/lock")
	waiting := concurrency.NewMutex(second, "go/lock")
	must(held.Lock(ctx))
	check(waiting.TryLock(ctx) == concurrency.ErrLocked, "a lock that is held")
	got := make(chan error)
	go func() { got <- waiting.Lock(ctx) }()
	must(held.Unlock(ctx))
	must(<-got)
	must(waiting.Unlock(ctx))
	must(first.Close())
	must(second.Close())
}

func elections(ctx context.Context, client *clientv3.Client) {
	session, err := concurrency.NewSession(client)
	must(err)
	election := concurrency.NewElection(session, "go/election")
	_, err = election.Leader(ctx)
	check(err == concurrency.ErrElectionNoLeader, "no leader yet")
	must(election.Campaign(ctx, "me"))
	must(election.Proclaim(ctx, "still me"))
	observed := <-election.Observe(ctx)
	check(string(observed.Kvs[0].Value) == "still me", "observe")
	must(election.Resign(ctx))
	must(session.Close())
}

func stm(ctx context.Context, client *clientv3.Client) {
	for i := 0; i < 3; i++ {
		_, err := concurrency.NewSTM(client, func(s concurrency.STM) error {
			s.Put("go/stm", s.Get("go/stm")+"x")
			return nil
		}, concurrency.WithAbortContext(ctx))
		must(err)
	}
	got, err := client.Get(ctx, "go/stm")
	must(err)
	check(string(got.Kvs[0].Value) == "xxx", "stm")
}

// A watch misses nothing that was acknowledged, and sees it in order, while a member goes away.
func failover(ctx context.Context, client *clientv3.Client) {
	watch := client.Watch(ctx, watched, clientv3.WithPrefix())
	fmt.Println("KILL")
	written := write(ctx, client)
	next := 0
	for next < written {
		response, open := <-watch
		check(open, "the watch ended")
		must(response.Err())
		for _, event := range response.Events {
			key := string(event.Kv.Key)
			// A write of unknown outcome was sent again.
			if next > 0 && key == keyOf(next-1) {
				continue
			}
			check(key == keyOf(next), "the watch at "+key)
			next++
		}
	}
}

// Writes until the test has taken a member away, and some more. Answers how many.
func write(ctx context.Context, client *clientv3.Client) int {
	left, written := writesAfter, 0
	for left > 0 {
		check(ctx.Err() == nil, "the failover takes too long")
		attempt, cancel := context.WithTimeout(ctx, 3*time.Second)
		_, err := client.Put(attempt, keyOf(written), "x")
		if err == nil {
			written++
			got, err := client.Get(attempt, killed)
			if left < writesAfter || (err == nil && got.Count == 1) {
				left--
			}
		}
		cancel()
		time.Sleep(20 * time.Millisecond)
	}
	return written
}

func keyOf(i int) string {
	return fmt.Sprintf("%s%04d", watched, i)
}

func must(err error) {
	if err != nil {
		fmt.Println("FAILED:", err)
		os.Exit(1)
	}
}

func check(holds bool, what string) {
	if !holds {
		fmt.Println("FAILED:", what)
		os.Exit(1)
	}
}
