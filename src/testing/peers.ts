import type { Peers, PeerTopic } from '../lib/contracts/peers.ts'
import { Locks } from '../lib/locks.ts'

/** The other workers, as one of several gateways of a process sees them. */
export interface TestPeers extends Peers {
  /** Receives what brings it up to date from the others, as a worker does that starts after them. */
  catchUp(): void
}

/** Connects so many gateways of one process with each other, as the workers of the command line are: messages are copied as between processes. */
export function connectPeers(count: number): TestPeers[] {
  const topics = Array.from({ length: count }, () => new Map<string, PeerTopic<unknown>>())
  const locks = new Locks()
  return topics.map((own, i) => ({
    async broadcast(topic, message) {
      for (const other of topics) if (other !== own) other.get(topic)?.receive(structuredClone(message))
    },
    join<T>(topic: string, member: PeerTopic<T>) {
      own.set(topic, member as PeerTopic<unknown>)
      return () => void own.delete(topic)
    },
    lock: async (name, ms) => locks.acquire(name, i, ms),
    unlock: (name) => locks.release(name, i),
    catchUp() {
      for (const other of topics)
        if (other !== own)
          for (const [topic, member] of other)
            for (const message of member.snapshot()) own.get(topic)?.receive(structuredClone(message))
    }
  }))
}
