import type { Peers } from '../../../src/lib/contracts/peers.ts'
import type { SessionData } from '../store.ts'
import { MemorySessions, type StoredSession } from './memory.ts'

const TOPIC = 'session'

/** A message between workers: a new session, a changed one (ignored if it has ended), a new expiry, or an end. */
type SessionMessage =
  | (StoredSession & { readonly isUpdate?: boolean })
  | Omit<StoredSession, 'text'>
  | Pick<StoredSession, 'key'>

/** Sessions in the memory of each worker, replicated: every worker knows a new session before the log-in is answered. */
export class WorkerSessions extends MemorySessions {
  readonly #peers: Peers
  readonly #leave: () => void

  constructor(peers: Peers) {
    super()
    this.#peers = peers
    this.#leave = peers.join<SessionMessage>(TOPIC, {
      receive: (message) => this.#apply(message),
      snapshot: () => this.all()
    })
  }

  override close(): void {
    super.close()
    this.#leave()
  }

  protected override async write(key: string, data: SessionData, text: string): Promise<void> {
    const stored = { key, text, expiresAt: this.expiryOf(data.created) }
    this.put(stored, data)
    await this.#send(stored)
  }

  protected override async replace(key: string, data: SessionData, text: string): Promise<boolean> {
    if (this.readAndTouch(key) === undefined) return false
    const stored = { key, text, expiresAt: this.expiryOf(data.created) }
    this.put(stored, data)
    await this.#send({ ...stored, isUpdate: true })
    return this.read(key) !== undefined
  }

  protected override touch(key: string, expiresAt: number): void {
    super.touch(key, expiresAt)
    void this.#send({ key, expiresAt })
  }

  protected override async remove(key: string): Promise<void> {
    this.drop(key)
    await this.#send({ key })
  }

  #send(message: SessionMessage): Promise<void> {
    return this.#peers.broadcast(TOPIC, message)
  }

  #apply(message: SessionMessage): void {
    const { key } = message
    if ('text' in message) {
      if (message.isUpdate !== true || this.read(key) !== undefined)
        this.put(message, JSON.parse(message.text) as SessionData)
    } else if ('expiresAt' in message) super.touch(key, message.expiresAt)
    else this.drop(key)
  }
}
