import { headerOf, setHeader } from './flat-head.ts'

/** The status and headers of a response, which a stage may change until its stream gives the first byte. */
export class StageHead {
  status: number
  /** Whether a body follows for the client: not for HEAD, 204 and 304. */
  readonly hasBody: boolean
  /** Whether an earlier stage takes the body, and so may change the head until the first byte comes. */
  mayChange = false
  readonly #fields: string[]
  #lengthChanges = 0

  /** Takes over a list of names, in lower case, and values in turn. */
  constructor(status: number, fields: string[], hasBody: boolean) {
    this.status = status
    this.#fields = fields
    this.hasBody = hasBody
  }

  /** Names in lower case and values in turn. */
  get fields(): readonly string[] {
    return this.#fields
  }

  /** Returns a header's value, several fields of one name joined by commas; undefined if there is none. */
  get(name: string): string | undefined {
    return headerOf(this.#fields, name)
  }

  /** Replaces a header; undefined removes it. */
  set(name: string, value: string | undefined): void {
    if (name === 'content-length') this.#lengthChanges++
    setHeader(this.#fields, name, value)
  }

  /** Adds a field beside others of the same name. */
  add(name: string, value: string): void {
    this.#fields.push(name, value)
  }

  /** Removes Content-Length, for a stage that changes the body; returns a function that sets the new one, unless another stage has set or removed it since. */
  changeLength(): (length: number) => void {
    this.set('content-length', undefined)
    const changes = this.#lengthChanges
    return (length) => {
      if (this.#lengthChanges === changes) this.set('content-length', String(length))
    }
  }
}
