import type { Peers, PeerTopic } from '../lib/contracts/peers.ts'
import type { Channel } from './ipc.ts'

/** A message from one worker to the others. */
export interface PeerMessage {
  readonly topic: string
  readonly message: unknown
}

/** A worker's request for a lock of the primary. */
export interface LockRequest {
  readonly name: string
  /** For how long, in ms. */
  readonly ms: number
}

// How long a new worker waits for the state of the others, in ms.
const CATCH_UP_TIMEOUT_MS = 5000

/** The other workers, as one of them sees them; all messages go through the primary. */
export class WorkerPeers implements Peers {
  readonly #channel: Channel
  readonly #topics = new Map<string, PeerTopic<unknown>>()

  constructor(channel: Channel) {
    this.#channel = channel
  }

  async broadcast(topic: string, message: unknown): Promise<void> {
    await this.#channel.request('broadcast', { topic, message } satisfies PeerMessage)
  }

  join<T>(topic: string, subscriber: PeerTopic<T>): () => void {
    this.#topics.set(topic, subscriber as PeerTopic<unknown>)
    return () => void this.#topics.delete(topic)
  }

  async lock(name: string, ms: number): Promise<boolean> {
    // No response means that the primary is gone, and with it the other workers.
    return (await this.#channel.request('lock', { name, ms } satisfies LockRequest)) !== false
  }

  unlock(name: string): void {
    this.#channel.notify('unlock', name)
  }

  /** Delivers a message of another worker to its topic. */
  receive({ topic, message }: PeerMessage): void {
    this.#topics.get(topic)?.receive(message)
  }

  /** Lists the messages that bring a new worker up to date. */
  snapshot(): PeerMessage[] {
    return [...this.#topics].flatMap(([topic, subscriber]) =>
      subscriber.snapshot().map((message) => ({ topic, message }))
    )
  }

  /** Brings this worker up to date with the others; waits for at most 5 s. */
  async catchUp(): Promise<void> {
    const messages = (await this.#channel.request('catchUp', undefined, CATCH_UP_TIMEOUT_MS)) as
      | PeerMessage[]
      | undefined
    for (const message of messages ?? []) this.receive(message)
  }
}
