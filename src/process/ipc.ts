/** What a process sends to another one. */
type Message =
  | { readonly ask: string; readonly id: number; readonly value: unknown }
  | { readonly tell: string; readonly value: unknown }
  | { readonly answer: number; readonly value: unknown }

/** What a process does when it is asked or told something, by the word for it. */
export type Answers = Readonly<Record<string, (value: never) => unknown>>

/** A channel to another process: each side may ask, tell and answer. */
export class Channel {
  readonly #send: (message: Message) => void
  readonly #answers: Answers
  readonly #waiting = new Map<number, (value: unknown) => void>()
  #asked = 0

  /** Opens it over what carries messages; what comes back is handed to `take`. */
  constructor(send: (message: Message) => void, answers: Answers) {
    this.#send = send
    this.#answers = answers
  }

  /** Tells the other side something that wants no answer. */
  tell(what: string, value?: unknown): void {
    this.#send({ tell: what, value })
  }

  /** Asks the other side; undefined where it is gone, or has nothing to say within `patience` milliseconds. */
  ask(what: string, value?: unknown, patience = 0): Promise<unknown> {
    const id = this.#asked++
    return new Promise((resolve) => {
      const timer = patience === 0 ? undefined : setTimeout(() => this.#settle(id, undefined), patience)
      this.#waiting.set(id, (answer) => {
        clearTimeout(timer)
        resolve(answer)
      })
      this.#send({ ask: what, id, value })
    })
  }

  /** Takes what has come from the other side; what is not of a channel is nobody's. */
  take(message: unknown): void {
    const said = message as Partial<Record<'ask' | 'tell', string>> & {
      id?: number
      answer?: number
      value?: unknown
    }
    if (said.answer !== undefined) this.#settle(said.answer, said.value)
    else if (said.tell !== undefined) void this.#answers[said.tell]?.(said.value as never)
    else if (said.ask !== undefined) {
      const { id = -1 } = said
      void Promise.resolve(this.#answers[said.ask]?.(said.value as never)).then((value) =>
        this.#send({ answer: id, value })
      )
    }
  }

  /** Ends it: whoever waits for an answer gets none. */
  close(): void {
    for (const id of [...this.#waiting.keys()]) this.#settle(id, undefined)
  }

  #settle(id: number, value: unknown): void {
    const settle = this.#waiting.get(id)
    this.#waiting.delete(id)
    settle?.(value)
  }
}
