/** The other workers of a gateway, to which each worker replicates its state. */
export interface Peers {
  /** Sends a message on a topic to all others; resolves once each of them has received it. */
  broadcast(topic: string, message: unknown): Promise<void>
  /** Subscribes to a topic; returns a function that unsubscribes. */
  join<T>(topic: string, subscriber: PeerTopic<T>): () => void
  /** Acquires a lock among the workers for at most `ms` milliseconds; resolves to whether it was free. */
  lock(name: string, ms: number): Promise<boolean>
  /** Releases a lock of this worker. */
  unlock(name: string): void
}

/** A worker's part in a topic. */
export interface PeerTopic<T> {
  /** Handles a message of another worker. */
  receive(message: T): void
  /** Lists the messages that bring a new worker up to date. */
  snapshot(): T[]
}
