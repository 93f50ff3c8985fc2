PRAGMA application_id = 1447641412;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE documents (
    kind TEXT NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (kind, key)
) STRICT, WITHOUT ROWID;
INSERT INTO "documents" VALUES('agent','seed','76d02e3f38a151fd');
INSERT INTO "documents" VALUES('bridge','br0','{"addresses":["10.0.0.100/24"],"flooding":"head_end_replication","forward_bpdu":false,"mac_aging_seconds":60,"mac_table_size":64,"neigh_suppress":true,"vni":100}');
INSERT INTO "documents" VALUES('bridge','br1','{"addresses":[],"flooding":"head_end_replication","forward_bpdu":true,"mac":"02:00:00:00:0b:01","mac_aging_seconds":300,"mac_table_size":8192,"mtu":1300,"neigh_suppress":true,"vni":200}');
INSERT INTO "documents" VALUES('mac','br0/02:00:00:00:00:99','{"ips":[],"port":"vx2"}');
INSERT INTO "documents" VALUES('port','br0/tap0','{"addresses":["10.0.0.1/24","fd00:a::1/64"],"ifname":"eth0","netns":"guest1","type":"tap"}');
INSERT INTO "documents" VALUES('port','br1/svc0','{"addresses":["10.1.0.1/24"],"type":"internal"}');
INSERT INTO "documents" VALUES('port','br1/sys0','{"addresses":[],"ifname":"veth9","type":"system"}');
INSERT INTO "documents" VALUES('tunnel','br0/vx2','{"csum":true,"df_default":false,"dst_port":4789,"remote_ip":"10.10.10.2","tos":40,"ttl":17}');
INSERT INTO "documents" VALUES('tunnel','br1/six','{"csum":false,"df_default":true,"dst_port":8472,"remote_ip":"fd00:10::3","tos":0,"ttl":64,"vni":"flow"}');
COMMIT;
