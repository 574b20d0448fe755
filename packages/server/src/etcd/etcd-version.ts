/**
 * The version of etcd that this server stands for, which clients and Kubernetes compare with what they need: a semantic version is a
 * must, progress requests are only used from 3.4.31 and 3.5.13 on, and clients refuse what is older than their previous minor. 3.6 is
 * the line whose behaviour the API follows (keys-only answers keep their lease, which 3.7 drops).
 */
export const ETCD_VERSION = '3.6.0';

/** The version of etcd that all members understand, as etcd writes it. */
export const ETCD_CLUSTER_VERSION = '3.6.0';
