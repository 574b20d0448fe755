"""What Python programs do with etcd, through python-etcd3: `main.py ENDPOINTS` does it all and prints OK."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import etcd3

# gRPC takes several addresses in one target, and goes to the next one when one is gone; the library makes it of host and port.
endpoints = sys.argv[1].split(",")
rest, _, port = ("ipv4:" + ",".join(endpoints)).rpartition(":")
client = etcd3.client(host=rest, port=int(port), timeout=5)

# The test puts this key after it has taken a member away.
KILLED = "{failover}/killed"
WATCHED = "{failover}/py/"
END = WATCHED + "end"
WRITES_AFTER = 20


def keys():
    client.put("py/a", "1")
    value, meta = client.get("py/a")
    assert value == b"1" and meta.version == 1, (value, meta.version)
    succeeded, _ = client.transaction(
        compare=[client.transactions.value("py/a") == "1"],
        success=[client.transactions.put("py/a", "2")],
        failure=[],
    )
    assert succeeded and client.get("py/a")[0] == b"2"
    assert client.replace("py/a", "2", "3") and not client.replace("py/a", "2", "4")
    for i in range(3):
        client.put("py/many/%d" % i, str(i))
    assert len(list(client.get_prefix("py/many/"))) == 3
    assert client.delete("py/a")


def leases():
    lease = client.lease(60)
    client.put("py/leased", "x", lease=lease)
    assert lease.granted_ttl == 60 and lease.keys == [b"py/leased"]
    assert list(lease.refresh())[0].TTL == 60
    lease.revoke()
    assert client.get("py/leased")[0] is None


def locks():
    with client.lock("py", ttl=20) as lock:
        assert lock.is_acquired()
        assert not client.lock("py", ttl=20).acquire(timeout=0.3)
    assert client.lock("py", ttl=20).acquire(timeout=5)


def campaign(name, value):
    """The library has no election. This is etcd's recipe on plain keys: whose key is oldest leads; wait for the one before."""
    lease = client.lease(60)
    key = "%s/%x" % (name, lease.id)
    create = client.transactions.create(key) == 0
    client.transaction(compare=[create], success=[client.transactions.put(key, value, lease)], failure=[])
    own = client.get(key)[1].create_revision
    while True:
        queue = list(client.get_prefix(name + "/", sort_order="descend", sort_target="create"))
        before = [meta for _, meta in queue if meta.create_revision < own]
        if not before:
            return key, lease
        events, cancel = client.watch(before[0].key, start_revision=before[0].mod_revision)
        for event in events:
            if isinstance(event, etcd3.events.DeleteEvent):
                break
        cancel()


def leader(name):
    queue = list(client.get_prefix(name + "/", sort_order="ascend", sort_target="create"))
    return queue[0][0] if queue else None


def elections():
    assert leader("py/election") is None
    _, first = campaign("py/election", "me")
    assert leader("py/election") == b"me"
    with ThreadPoolExecutor(1) as pool:
        second = pool.submit(campaign, "py/election", "you")
        time.sleep(0.3)
        assert not second.done() and leader("py/election") == b"me"
        first.revoke()
        _, held = second.result(timeout=20)
    assert leader("py/election") == b"you"
    held.revoke()


def attempt(action):
    """True or the answer; None when it failed, as requests do while a member goes away."""
    try:
        return action() or True
    except etcd3.Etcd3Exception:
        time.sleep(0.1)
        return None


def write():
    """Writes until the test has taken a member away, and some more, and the end. Answers the keys."""
    left, keys = WRITES_AFTER, []
    while left > 0:
        key = "%s%04d" % (WATCHED, len(keys)) if left > 1 else END
        if attempt(lambda: client.put(key, "x")) is None:
            continue
        keys.append(key.encode())
        time.sleep(0.02)
        killed = attempt(lambda: client.get(KILLED))
        if left < WRITES_AFTER or (killed is not None and killed[0] is not None):
            left -= 1
    return keys


def watch(revision):
    """What happens from a revision on until the end is seen. The library ends a watch whose connection broke: it goes on."""
    seen = []
    while True:
        try:
            events, cancel = client.watch_prefix(WATCHED, start_revision=revision)
            for event in events:
                revision = event.mod_revision + 1
                # A write of unknown outcome was sent again.
                if not seen or seen[-1] != event.key:
                    seen.append(event.key)
                if event.key == END.encode():
                    cancel()
                    return seen
        except Exception as error:
            print("the watch goes on after", repr(error), file=sys.stderr)
            time.sleep(0.2)


def failover():
    """A watch misses nothing that was acknowledged, and sees it in order, while a member goes away."""
    client.put(WATCHED + "begin", "x")
    revision = client.get(WATCHED + "begin")[1].mod_revision + 1
    print("KILL", flush=True)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        seen = watch(revision)
    assert seen == writing.result(), (seen, writing.result())


keys()
leases()
locks()
elections()
failover()
print("OK")
