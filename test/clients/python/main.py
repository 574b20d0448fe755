"""What a Python program does with etcd, through python-etcd3: `main.py HOST PORT` does it all and prints OK."""

import sys

import etcd3

client = etcd3.client(host=sys.argv[1], port=int(sys.argv[2]), timeout=10)

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

events, cancel = client.watch_prefix("py/watched/")
for i in range(5):
    client.put("py/watched/%d" % i, str(i))
seen = [next(events).value for _ in range(5)]
assert seen == [b"0", b"1", b"2", b"3", b"4"], seen
cancel()

lease = client.lease(60)
client.put("py/leased", "x", lease=lease)
assert lease.granted_ttl == 60 and lease.keys == [b"py/leased"]
assert list(lease.refresh())[0].TTL == 60
lease.revoke()
assert client.get("py/leased")[0] is None

with client.lock("py", ttl=20) as lock:
    assert lock.is_acquired()

assert len(list(client.get_prefix("py/watched/"))) == 5
assert client.delete("py/a")
print("OK")
