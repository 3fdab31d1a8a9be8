/** The other workers of a gateway: what one of them counts or remembers in its memory, the others learn. */
export interface Peers {
  /** Tells all others of a topic; settles once each of them has taken it. */
  tell(topic: string, message: unknown): Promise<void>
  /** Takes part in a topic, until the returned function is called. */
  join<T>(topic: string, member: PeerTopic<T>): () => void
  /** Takes a lock that one worker at a time holds, for at most `ms` milliseconds; tells whether it was free. */
  lock(name: string, ms: number): Promise<boolean>
  /** Frees a lock of this worker. */
  unlock(name: string): void
}

/** A topic that workers share. */
export interface PeerTopic<T> {
  /** Takes what another worker tells. */
  take(message: T): void
  /** Lists all there is to tell a worker that has just begun. */
  all(): T[]
}
