// What Java programs do with etcd, through jetcd: `java Main ENDPOINTS` does it all against the members given, and prints OK.

import io.etcd.jetcd.ByteSequence;
import io.etcd.jetcd.Client;
import io.etcd.jetcd.Election;
import io.etcd.jetcd.KV;
import io.etcd.jetcd.Lease;
import io.etcd.jetcd.Lock;
import io.etcd.jetcd.Watch;
import io.etcd.jetcd.election.LeaderResponse;
import io.etcd.jetcd.op.Cmp;
import io.etcd.jetcd.op.CmpTarget;
import io.etcd.jetcd.op.Op;
import io.etcd.jetcd.options.DeleteOption;
import io.etcd.jetcd.options.GetOption;
import io.etcd.jetcd.options.LeaseOption;
import io.etcd.jetcd.options.PutOption;
import io.etcd.jetcd.options.WatchOption;
import io.etcd.jetcd.watch.WatchEvent;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

public final class Main {
  /** The test puts this key after it has taken a member away. */
  private static final ByteSequence KILLED = bytes("{failover}/killed");

  private static final String WATCHED = "{failover}/java/";
  private static final int WRITES_AFTER = 20;

  public static void main(String[] args) throws Exception {
    String[] endpoints =
        Arrays.stream(args[0].split(",")).map(at -> "http://" + at).toArray(String[]::new);
    try (Client client = Client.builder().endpoints(endpoints).build()) {
      keys(client.getKVClient());
      leases(client);
      locks(client);
      elections(client);
      failover(client);
    }
    System.out.println("OK");
    System.exit(0);
  }

  private static void keys(KV kv) throws Exception {
    ByteSequence key = bytes("java/a");
    kv.put(key, bytes("1")).get();
    check(text(kv.get(key).get().getKvs().get(0).getValue()).equals("1"), "get");
    var txn =
        kv.txn()
            .If(new Cmp(key, Cmp.Op.EQUAL, CmpTarget.value(bytes("1"))))
            .Then(Op.put(key, bytes("2"), PutOption.DEFAULT), Op.get(key, GetOption.DEFAULT))
            .Else(Op.get(key, GetOption.DEFAULT))
            .commit()
            .get();
    var read = txn.getGetResponses().get(0).getKvs().get(0);
    check(txn.isSucceeded() && text(read.getValue()).equals("2"), "txn");
    var deleted = kv.delete(key, DeleteOption.builder().withPrevKV(true).build()).get();
    check(text(deleted.getPrevKvs().get(0).getValue()).equals("2"), "delete");
  }

  private static void leases(Client client) throws Exception {
    Lease leases = client.getLeaseClient();
    KV kv = client.getKVClient();
    ByteSequence key = bytes("java/leased");
    long id = leases.grant(60).get().getID();
    kv.put(key, bytes("x"), PutOption.builder().withLeaseId(id).build()).get();
    check(leases.keepAliveOnce(id).get().getTTL() == 60, "keep-alive");
    var left = leases.timeToLive(id, LeaseOption.builder().withAttachedKeys().build()).get();
    check(left.getKeys().size() == 1 && left.getGrantedTTL() == 60, "time to live");
    leases.revoke(id).get();
    check(kv.get(key).get().getCount() == 0, "the key of a revoked lease");
  }

  private static void locks(Client client) throws Exception {
    Lock locks = client.getLockClient();
    ByteSequence name = bytes("java/lock");
    long first = client.getLeaseClient().grant(60).get().getID();
    long second = client.getLeaseClient().grant(60).get().getID();
    ByteSequence held = locks.lock(name, first).get().getKey();
    var waiting = locks.lock(name, second);
    Thread.sleep(200);
    check(!waiting.isDone(), "a lock that is held");
    locks.unlock(held).get();
    locks.unlock(waiting.get(20, TimeUnit.SECONDS).getKey()).get();
  }

  private static void elections(Client client) throws Exception {
    Election elections = client.getElectionClient();
    ByteSequence name = bytes("java/election");
    long id = client.getLeaseClient().grant(60).get().getID();
    var leader = elections.campaign(name, id, bytes("me")).get().getLeader();
    elections.proclaim(leader, bytes("still me")).get();
    CompletableFuture<String> observed = new CompletableFuture<>();
    elections.observe(
        name,
        new Election.Listener() {
          @Override
          public void onNext(LeaderResponse response) {
            observed.complete(text(response.getKv().getValue()));
          }

          @Override
          public void onError(Throwable error) {
            observed.completeExceptionally(error);
          }

          @Override
          public void onCompleted() {}
        });
    check(observed.get(20, TimeUnit.SECONDS).equals("still me"), "observe");
    check(text(elections.leader(name).get().getKv().getValue()).equals("still me"), "leader");
    elections.resign(leader).get();
  }

  /** A watch misses nothing that was acknowledged, and sees it in order, while a member goes away. */
  private static void failover(Client client) throws Exception {
    BlockingQueue<WatchEvent> events = new LinkedBlockingQueue<>();
    var option = WatchOption.builder().isPrefix(true).build();
    KV kv = client.getKVClient();
    try (Watch.Watcher watcher =
        client
            .getWatchClient()
            .watch(
                bytes(WATCHED),
                option,
                response -> events.addAll(response.getEvents()),
                error -> System.out.println("the watch ended: " + error))) {
      // Its own answer to the creation is not shown: what is put before it is there would not be seen.
      for (int i = 0; events.isEmpty(); i += 1) {
        kv.put(bytes(WATCHED + "begin"), bytes(String.valueOf(i))).get();
        Thread.sleep(100);
      }
      System.out.println("KILL");
      int written = write(kv);
      int next = 0;
      while (next < written) {
        WatchEvent event = events.poll(60, TimeUnit.SECONDS);
        check(event != null, "nothing came after " + next);
        String key = text(event.getKeyValue().getKey());
        // A write of unknown outcome was sent again.
        boolean again = key.equals(WATCHED + "begin") || key.equals(keyOf(next - 1));
        check(again || key.equals(keyOf(next)), "the watch at " + key + " instead of " + next);
        if (!again) next += 1;
      }
    }
  }

  private static int write(KV kv) throws Exception {
    int left = WRITES_AFTER;
    int written = 0;
    while (left > 0) {
      if (attempt(kv, keyOf(written))) {
        written += 1;
        Thread.sleep(20);
        if (left < WRITES_AFTER || isKilled(kv)) left -= 1;
      }
    }
    return written;
  }

  private static boolean attempt(KV kv, String key) throws InterruptedException {
    try {
      kv.put(bytes(key), bytes("x")).get(3, TimeUnit.SECONDS);
      return true;
    } catch (java.util.concurrent.ExecutionException | java.util.concurrent.TimeoutException e) {
      return false;
    }
  }

  private static boolean isKilled(KV kv) throws InterruptedException {
    try {
      return kv.get(KILLED).get(3, TimeUnit.SECONDS).getCount() == 1;
    } catch (java.util.concurrent.ExecutionException | java.util.concurrent.TimeoutException e) {
      return false;
    }
  }

  private static String keyOf(int i) {
    return String.format("%s%04d", WATCHED, i);
  }

  private static ByteSequence bytes(String text) {
    return ByteSequence.from(text, StandardCharsets.UTF_8);
  }

  private static String text(ByteSequence bytes) {
    return bytes.toString(StandardCharsets.UTF_8);
  }

  private static void check(boolean holds, String what) {
    if (holds) return;
    System.out.println("FAILED: " + what);
    System.exit(1);
  }
}
