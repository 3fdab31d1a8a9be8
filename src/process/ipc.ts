/** A message between the primary and a worker. */
type Message =
  | { readonly request: string; readonly id: number; readonly value: unknown }
  | { readonly notify: string; readonly value: unknown }
  | { readonly response: number; readonly value: unknown }

/** What a process does on a request or a notification, by its name. */
export type MessageHandlers = Readonly<Record<string, (value: never) => unknown>>

/** A channel to another process: each side may send requests, responses and notifications. */
export class Channel {
  readonly #send: (message: Message) => void
  readonly #handlers: MessageHandlers
  readonly #pending = new Map<number, (value: unknown) => void>()
  #nextId = 0

  /** Opens a channel over `send`; pass the messages of the other side to `receive`. */
  constructor(send: (message: Message) => void, handlers: MessageHandlers) {
    this.#send = send
    this.#handlers = handlers
  }

  /** Sends a notification, which has no response. */
  notify(name: string, value?: unknown): void {
    this.#send({ notify: name, value })
  }

  /** Sends a request; resolves to undefined where the other side is gone or does not respond within `timeout` ms (0: no timeout). */
  request(name: string, value?: unknown, timeout = 0): Promise<unknown> {
    const id = this.#nextId++
    return new Promise((resolve) => {
      const timer = timeout === 0 ? undefined : setTimeout(() => this.#resolve(id, undefined), timeout)
      this.#pending.set(id, (response) => {
        clearTimeout(timer)
        resolve(response)
      })
      this.#send({ request: name, id, value })
    })
  }

  /** Handles a message of the other side; ignores messages that are not of a channel. */
  receive(message: unknown): void {
    const received = message as Partial<Record<'request' | 'notify', string>> & {
      id?: number
      response?: number
      value?: unknown
    }
    if (received.response !== undefined) this.#resolve(received.response, received.value)
    else if (received.notify !== undefined) void this.#handlers[received.notify]?.(received.value as never)
    else if (received.request !== undefined) {
      const { id = -1 } = received
      const respond = (value: unknown): void => this.#send({ response: id, value })
      Promise.resolve(this.#handlers[received.request]?.(received.value as never)).then(respond, () =>
        respond(undefined)
      )
    }
  }

  /** Closes the channel: all pending requests resolve to undefined. */
  close(): void {
    for (const id of [...this.#pending.keys()]) this.#resolve(id, undefined)
  }

  #resolve(id: number, value: unknown): void {
    const resolve = this.#pending.get(id)
    this.#pending.delete(id)
    resolve?.(value)
  }
}
