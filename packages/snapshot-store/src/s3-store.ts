import { createHash, type Hash } from 'node:crypto';
import {
  AbortMultipartUploadCommand,
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  DeleteObjectCommand,
  GetObjectCommand,
  ListObjectsV2Command,
  type ListObjectsV2CommandOutput,
  NoSuchKey,
  PutObjectCommand,
  S3Client,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { isKvError, KvError } from '@kvorum/base';
import type { SnapshotStore } from '@kvorum/ports';
import { type Listed, type ObjectStore, sealedStore, type Written } from './sealed-store.ts';
import { failed } from './store-names.ts';

/** What S3 takes as a part at least, but for the last; ten thousand parts an object: copies up to 80 GB. */
const PART_BYTES = 8 * 1024 * 1024;

export interface S3StoreOptions {
  readonly bucket: string;
  /** Before every object's key; '' or ends with '/'. */
  readonly prefix: string;
  /** URL of a server that is not AWS. */
  readonly endpoint?: string;
  /** Default: AWS_REGION, else us-east-1. */
  readonly region?: string;
  /** The bucket in the path instead of the host name; what servers other than AWS need. */
  readonly pathStyle?: boolean;
  /** Default: as AWS's tools find them (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, profile, instance role). */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string };
}

/** Copies in an S3 bucket, under the prefix. */
export function openS3Store(options: S3StoreOptions): SnapshotStore {
  return sealedStore(new S3Objects(options));
}

const HINT = 'check the bucket, the endpoint and the credentials (AWS_ACCESS_KEY_ID, …)';

class S3Objects implements ObjectStore {
  readonly where: string;
  readonly #options: S3StoreOptions;
  readonly #client: S3Client;

  constructor(options: S3StoreOptions) {
    this.#options = options;
    this.where = `s3://${options.bucket}/${options.prefix}`;
    const { endpoint, credentials, pathStyle } = options;
    this.#client = new S3Client({
      region: options.region ?? process.env['AWS_REGION'] ?? 'us-east-1',
      ...(endpoint === undefined ? {} : { endpoint }),
      ...(credentials === undefined ? {} : { credentials }),
      forcePathStyle: pathStyle ?? endpoint !== undefined,
      // Servers other than AWS do not all know the newer checksums; ours are in the copies themselves.
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
    });
  }

  async list(folder: string): Promise<Listed> {
    const under = this.#key(folder === '' ? '' : `${folder}/`);
    const objects: string[] = [];
    const folders: string[] = [];
    let token: string | undefined;
    do {
      const page = await this.#page(under, token);
      const names = (page.Contents ?? []).flatMap(({ Key }) => Key ?? []);
      objects.push(...names.map((key) => key.slice(under.length)));
      const prefixes = (page.CommonPrefixes ?? []).flatMap(({ Prefix }) => Prefix ?? []);
      folders.push(...prefixes.map((key) => key.slice(under.length, -1)));
      token = page.IsTruncated === true ? page.NextContinuationToken : undefined;
    } while (token !== undefined);
    return { objects, folders };
  }

  async *read(name: string, bytes: number): AsyncGenerator<Uint8Array> {
    const key = this.#key(name);
    try {
      const { Body, ContentLength } = await this.#client.send(
        new GetObjectCommand({ Bucket: this.#options.bucket, Key: key }),
      );
      if (ContentLength !== undefined && ContentLength !== bytes) {
        const sizes = `${ContentLength} bytes, but ${bytes} were written`;
        throw new KvError('KV_BACKUP', `${this.where}: ${key}: ${sizes}`);
      }
      const stream = Body as AsyncIterable<Uint8Array> | undefined;
      if (stream !== undefined) yield* stream;
    } catch (error) {
      throw this.#failure(`cannot read ${key}`, error);
    }
  }

  async close(): Promise<void> {
    this.#client.destroy();
  }

  #key(name: string): string {
    return `${this.#options.prefix}${name}`;
  }

  #failure(what: string, error: unknown): KvError {
    return isKvError(error) ? error : failed(`${this.where}: ${what}`, error, HINT);
  }

  async #page(prefix: string, token: string | undefined): Promise<ListObjectsV2CommandOutput> {
    try {
      return await this.#client.send(
        new ListObjectsV2Command({
          Bucket: this.#options.bucket,
          Prefix: prefix,
          Delimiter: '/',
          ...(token === undefined ? {} : { ContinuationToken: token }),
        }),
      );
    } catch (error) {
      throw this.#failure(`cannot list ${prefix}`, error);
    }
  }

  async readText(name: string): Promise<string | undefined> {
    const key = this.#key(name);
    try {
      const { Body } = await this.#client.send(
        new GetObjectCommand({ Bucket: this.#options.bucket, Key: key }),
      );
      return (await Body?.transformToString('utf8')) ?? '';
    } catch (error) {
      if (error instanceof NoSuchKey) return undefined;
      throw this.#failure(`cannot read ${key}`, error);
    }
  }

  async #put(key: string, bytes: Uint8Array): Promise<void> {
    try {
      await this.#client.send(
        new PutObjectCommand({ Bucket: this.#options.bucket, Key: key, Body: bytes }),
      );
    } catch (error) {
      throw this.#failure(`cannot write ${key}`, error);
    }
  }

  async remove(name: string): Promise<void> {
    const key = this.#key(name);
    try {
      await this.#client.send(new DeleteObjectCommand({ Bucket: this.#options.bucket, Key: key }));
    } catch (error) {
      if (error instanceof NoSuchKey) return; // some servers say so, S3 itself does not
      throw this.#failure(`cannot remove ${key}`, error);
    }
  }

  /** Holds one part in memory. Errors of `content` pass through as they are. */
  async write(name: string, content: AsyncIterable<Uint8Array>): Promise<Written> {
    const key = this.#key(name);
    const hash = createHash('sha256');
    const parts = inParts(content, hash);
    const first = await parts.next();
    const second = first.done === true ? first : await parts.next();
    if (first.done === true || second.done === true) {
      const bytes = first.done === true ? new Uint8Array(0) : first.value;
      await this.#put(key, bytes);
      return { bytes: bytes.length, sha256: hash.digest('hex') };
    }
    const bytes = await this.#multipart(key, followedBy([first.value, second.value], parts));
    return { bytes, sha256: hash.digest('hex') };
  }

  async #multipart(key: string, parts: AsyncIterable<Uint8Array>): Promise<number> {
    const target = { Bucket: this.#options.bucket, Key: key };
    const step = async <T>(sent: Promise<T>): Promise<T> => {
      try {
        return await sent;
      } catch (error) {
        throw this.#failure(`cannot write ${key}`, error);
      }
    };
    const { UploadId } = await step(this.#client.send(new CreateMultipartUploadCommand(target)));
    const done: { readonly PartNumber: number; readonly ETag: string | undefined }[] = [];
    let bytes = 0;
    try {
      for await (const part of parts) {
        const PartNumber = done.length + 1;
        const upload = new UploadPartCommand({ ...target, UploadId, PartNumber, Body: part });
        const { ETag } = await step(this.#client.send(upload));
        done.push({ PartNumber, ETag });
        bytes += part.length;
      }
      const MultipartUpload = { Parts: done };
      await step(
        this.#client.send(
          new CompleteMultipartUploadCommand({ ...target, UploadId, MultipartUpload }),
        ),
      );
    } catch (error) {
      // Parts of an upload that nobody ends are paid for; a life cycle rule of the bucket removes what this cannot.
      await this.#client
        .send(new AbortMultipartUploadCommand({ ...target, UploadId }))
        .catch(() => undefined);
      throw error;
    }
    return bytes;
  }
}

/** Content in pieces of PART_BYTES, the last one shorter; each goes through the hash. */
async function* inParts(
  content: AsyncIterable<Uint8Array>,
  hash: Hash,
): AsyncGenerator<Uint8Array, undefined> {
  let pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of content) {
    hash.update(piece);
    for (let at = 0; at < piece.length; ) {
      const end = Math.min(piece.length, at + PART_BYTES - length);
      pieces.push(piece.subarray(at, end));
      length += end - at;
      at = end;
      if (length < PART_BYTES) continue;
      yield Buffer.concat(pieces);
      pieces = [];
      length = 0;
    }
  }
  if (length > 0) yield Buffer.concat(pieces);
  return undefined;
}

async function* followedBy(
  first: readonly Uint8Array[],
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* first;
  yield* rest;
}
