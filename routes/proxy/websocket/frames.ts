/** Follows the frames of a WebSocket without a look inside, to know where one ends and another may be put in between (RFC 6455 section 5.2). */
export class Frames {
  readonly #head: number[] = []
  #left = 0

  /** Whether the last byte was the last of its frame. */
  get between(): boolean {
    return this.#left === 0 && this.#head.length === 0
  }

  /** Follows the next bytes. */
  take(bytes: Buffer): void {
    for (let i = 0; i < bytes.length; ) {
      const payload = Math.min(this.#left, bytes.length - i)
      if (payload > 0) {
        this.#left -= payload
        i += payload
      } else this.#takeHead(bytes[i++] as number)
    }
  }

  #takeHead(byte: number): void {
    const head = this.#head
    head.push(byte)
    if (head.length < 2) return
    const second = head[1] as number
    const said = second & 0x7f
    const extended = said === 126 ? 2 : said === 127 ? 8 : 0
    const mask = (second & 0x80) === 0 ? 0 : 4
    if (head.length < 2 + extended + mask) return
    this.#left =
      extended === 0 ? said : head.slice(2, 2 + extended).reduce((length, each) => length * 256 + each, 0)
    head.length = 0
  }
}

/** How a WebSocket ends that did nothing wrong: "going away" (RFC 6455 section 7.4.1). */
export const GOING_AWAY = 1001
/** The close code of an end that lost its right to be here (RFC 6455 section 7.4.1). */
export const POLICY_VIOLATION = 1008

/** Writes a close frame as a server does: unmasked. */
export const closeFrame = (code: number): Buffer => Buffer.from([0x88, 0x02, code >> 8, code & 0xff])
