/** Tracks the boundaries of WebSocket frames, to know where another frame may be inserted (RFC 6455 section 5.2). */
export class FrameTracker {
  readonly #header: number[] = []
  #remaining = 0

  /** Whether the last byte was the last of its frame. */
  get isBetweenFrames(): boolean {
    return this.#remaining === 0 && this.#header.length === 0
  }

  /** Reads the next bytes. */
  push(bytes: Buffer): void {
    for (let i = 0; i < bytes.length; ) {
      const payload = Math.min(this.#remaining, bytes.length - i)
      if (payload > 0) {
        this.#remaining -= payload
        i += payload
      } else this.#pushHeader(bytes[i++] as number)
    }
  }

  #pushHeader(byte: number): void {
    const header = this.#header
    header.push(byte)
    if (header.length < 2) return
    const second = header[1] as number
    const length = second & 0x7f
    const extended = length === 126 ? 2 : length === 127 ? 8 : 0
    const mask = (second & 0x80) === 0 ? 0 : 4
    if (header.length < 2 + extended + mask) return
    this.#remaining =
      extended === 0 ? length : header.slice(2, 2 + extended).reduce((value, byte) => value * 256 + byte, 0)
    header.length = 0
  }
}

/** The close code of an orderly end: "going away" (RFC 6455 section 7.4.1). */
export const GOING_AWAY = 1001
/** The close code of a client that is no longer authorized (RFC 6455 section 7.4.1). */
export const POLICY_VIOLATION = 1008

/** Returns a server's close frame, unmasked. */
export const closeFrame = (code: number): Buffer => Buffer.from([0x88, 0x02, code >> 8, code & 0xff])
