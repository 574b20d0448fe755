// What the answers of the requests that this package sends decode to (kafkajs src/protocol/requests/*/response.js).

export interface ProduceAnswer {
  readonly topics: readonly {
    readonly topicName: string;
    readonly partitions: readonly {
      readonly partition: number;
      readonly errorCode: number;
      readonly baseOffset: string;
    }[];
  }[];
}

export interface FetchedMessage {
  readonly offset: string;
  readonly value: Uint8Array | null;
  readonly isControlRecord: boolean;
}

export interface FetchedPartition {
  readonly partition: number;
  readonly errorCode: number;
  readonly highWatermark: string;
  readonly messages: readonly FetchedMessage[];
}

export interface FetchAnswer {
  readonly errorCode?: number;
  readonly responses: readonly {
    readonly topicName: string;
    readonly partitions: readonly FetchedPartition[];
  }[];
}

export interface PartitionMetadata {
  readonly partitionErrorCode: number;
  readonly partitionId: number;
  readonly leader: number;
  readonly replicas: readonly number[];
  readonly isr: readonly number[];
}

export interface TopicMetadata {
  readonly topicErrorCode: number;
  readonly topic: string;
  readonly partitionMetadata: readonly PartitionMetadata[];
}

export interface MetadataAnswer {
  readonly brokers: readonly {
    readonly nodeId: number;
    readonly host: string;
    readonly port: number;
  }[];
  readonly controllerId: number;
  readonly topicMetadata: readonly TopicMetadata[];
}

export interface ListOffsetsAnswer {
  readonly responses: readonly {
    readonly topic: string;
    readonly partitions: readonly {
      readonly partition: number;
      readonly errorCode: number;
      readonly offset: string;
    }[];
  }[];
}

export interface DeleteRecordsAnswer {
  readonly topics: readonly {
    readonly topic: string;
    readonly partitions: readonly { readonly partition: number; readonly errorCode: number }[];
  }[];
}

export interface CreateTopicsAnswer {
  readonly topicErrors: readonly {
    readonly topic: string;
    readonly errorCode: number;
    readonly errorMessage?: string | null;
  }[];
}

export interface DescribeConfigsAnswer {
  readonly resources: readonly {
    readonly errorCode: number;
    readonly errorMessage: string | null;
    readonly resourceName: string;
    readonly configEntries: readonly {
      readonly configName: string;
      readonly configValue: string | null;
    }[];
  }[];
}

export interface SaslHandshakeAnswer {
  readonly errorCode: number;
  readonly enabledMechanisms: readonly string[];
}

/** Each request kind with its answer. */
export interface KafkaApi {
  readonly Fetch: FetchAnswer;
  readonly Metadata: MetadataAnswer;
  readonly ListOffsets: ListOffsetsAnswer;
  readonly DeleteRecords: DeleteRecordsAnswer;
  readonly CreateTopics: CreateTopicsAnswer;
  readonly DescribeConfigs: DescribeConfigsAnswer;
  readonly SaslHandshake: SaslHandshakeAnswer;
}
