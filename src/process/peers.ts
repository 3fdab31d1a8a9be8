import type { Peers, PeerTopic } from '../lib/contracts/peers.ts'
import type { Channel } from './ipc.ts'

/** What goes from worker to worker. */
export interface Told {
  readonly topic: string
  readonly message: unknown
}

/** A lock that a worker asks the primary for. */
export interface LockAsked {
  readonly name: string
  /** Milliseconds. */
  readonly ms: number
}

// How long a worker that begins waits for what the others know, in milliseconds.
const PATIENCE = 5000

/** The other workers, as one of them sees them: they are told and asked through the primary. */
export class WorkerPeers implements Peers {
  readonly #channel: Channel
  readonly #topics = new Map<string, PeerTopic<unknown>>()

  constructor(channel: Channel) {
    this.#channel = channel
  }

  async tell(topic: string, message: unknown): Promise<void> {
    await this.#channel.ask('tellOthers', { topic, message } satisfies Told)
  }

  join<T>(topic: string, member: PeerTopic<T>): () => void {
    this.#topics.set(topic, member as PeerTopic<unknown>)
    return () => void this.#topics.delete(topic)
  }

  async lock(name: string, ms: number): Promise<boolean> {
    // Without an answer the primary is gone, and with it the other workers.
    return (await this.#channel.ask('lock', { name, ms } satisfies LockAsked)) !== false
  }

  unlock(name: string): void {
    this.#channel.tell('unlock', name)
  }

  /** Takes what another worker tells. */
  take({ topic, message }: Told): void {
    this.#topics.get(topic)?.take(message)
  }

  /** Lists all that a worker has to know that begins now. */
  all(): Told[] {
    return [...this.#topics].flatMap(([topic, member]) => member.all().map((message) => ({ topic, message })))
  }

  /** Learns what the others know already. */
  async catchUp(): Promise<void> {
    const all = (await this.#channel.ask('catchUp', undefined, PATIENCE)) as Told[] | undefined
    for (const told of all ?? []) this.take(told)
  }
}
