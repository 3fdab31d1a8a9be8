import { once } from 'node:events'
import { connect, type TLSSocket } from 'node:tls'
import type { Scope } from './helpers.ts'

/** The types of frames (RFC 9113 section 6). */
export const TYPE = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  push: 5,
  ping: 6,
  goaway: 7,
  window: 8,
  continuation: 9
} as const

/** The flags of frames; an acknowledgement and the end of a stream are one bit. */
export const FLAG = { none: 0, ack: 1, endStream: 1, endHeaders: 4, padded: 8, priority: 32 } as const

/** The codes of errors (RFC 9113 section 7). */
export const CODE = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  streamClosed: 5,
  frameSize: 6,
  refused: 7,
  cancel: 8,
  compression: 9,
  calm: 11
} as const

/** What opens a connection, before any frame (RFC 9113 section 3.4). */
export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

/** A frame that came back. */
export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

const HEAD = 9

/** Makes a frame; its length may be claimed to be another one. */
export function frame(
  type: number,
  flags: number,
  stream: number,
  payload: Buffer = Buffer.alloc(0),
  claimed: number = payload.length
): Buffer {
  const head = Buffer.alloc(HEAD)
  head.writeUIntBE(claimed, 0, 3)
  head[3] = type
  head[4] = flags
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** Makes 32 bits. */
export function word(value: number): Buffer {
  const four = Buffer.alloc(4)
  four.writeUInt32BE(value)
  return four
}

/** Makes the payload of SETTINGS. */
export function settings(...pairs: readonly (readonly [id: number, value: number])[]): Buffer {
  return Buffer.concat(
    pairs.map(([id, value]) => Buffer.concat([Buffer.from([id >> 8, id & 255]), word(value)]))
  )
}

/** Header fields as they are written: names in any case and order, twice, or none of HTTP. */
export type Fields = readonly (readonly [name: string, value: string])[]

// HPACK of a length or an index (RFC 7541 section 5.1).
function integer(value: number, bits: number, first: number): Buffer {
  const most = 2 ** bits - 1
  if (value < most) return Buffer.from([first | value])
  const bytes = [first | most]
  let rest = value - most
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) | 128)
  return Buffer.from([...bytes, rest])
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1')
  return Buffer.concat([integer(bytes.length, 7, 0), bytes])
}

/** Writes fields as literals that no table keeps (RFC 7541 section 6.2.2). */
export function literals(fields: Fields): Buffer {
  return Buffer.concat(fields.flatMap(([name, value]) => [Buffer.from([0]), text(name), text(value)]))
}

/** Writes a field that the table keeps, as its first entry (RFC 7541 section 6.2.1). */
export const kept = (name: string, value: string): Buffer =>
  Buffer.concat([Buffer.from([0x40]), text(name), text(value)])

/** Names an entry of the table; 62 is the first one that was kept (RFC 7541 section 6.1). */
export const indexed = (index: number): Buffer => integer(index, 7, 0x80)

/** The pseudo-headers of a request. */
export const request = (path: string, method = 'GET'): Fields => [
  [':method', method],
  [':scheme', 'https'],
  [':authority', 'localhost'],
  [':path', path]
]

/** Makes the HEADERS of a whole request without a body. */
export const get = (stream: number, path: string, ...more: Fields): Buffer =>
  frame(TYPE.headers, FLAG.endStream | FLAG.endHeaders, stream, literals([...request(path), ...more]))

/** Makes the HEADERS of a request whose body follows. */
export const post = (stream: number, path: string, ...more: Fields): Buffer =>
  frame(TYPE.headers, FLAG.endHeaders, stream, literals([...request(path, 'POST'), ...more]))

/** Makes RST_STREAM. */
export const reset = (stream: number, code: number = CODE.cancel): Buffer =>
  frame(TYPE.reset, 0, stream, word(code))

/** Makes WINDOW_UPDATE. */
export const grow = (stream: number, by: number): Buffer => frame(TYPE.window, 0, stream, word(by))

// The static table's statuses (RFC 7541 appendix A), and the code of the digits (appendix B).
const STATUSES = [200, 204, 206, 304, 400, 404, 500]
const DIGITS = [
  '00000',
  '00001',
  '00010',
  '011001',
  '011010',
  '011011',
  '011100',
  '011101',
  '011110',
  '011111'
]

/** Reads the status from HEADERS of a server whose table keeps nothing. */
export function statusIn({ payload }: Frame): number {
  // What comes first may be the size of the table.
  const at = payload.findIndex((byte) => byte >> 5 !== 1)
  const first = payload[at] ?? 0
  if (first >= 128) return STATUSES[(first & 127) - 8] ?? 0
  const length = payload[at + 1] ?? 0
  const value = payload.subarray(at + 2, at + 2 + (length & 127))
  if (length < 128) return Number(value.toString('latin1'))
  let bits = [...value].map((byte) => byte.toString(2).padStart(8, '0')).join('')
  let digits = ''
  while (digits.length < 3) {
    const digit = DIGITS.findIndex((code) => bits.startsWith(code))
    if (digit === -1) return 0
    digits += digit
    bits = bits.slice(DIGITS[digit]?.length)
  }
  return Number(digits)
}

/** A client of HTTP/2 that sends whatever frames it is given, and keeps those that come back. */
export class FrameClient {
  readonly socket: TLSSocket
  /** What has come back so far. */
  readonly frames: Frame[] = []
  /** Waits for the end of the connection. */
  readonly closed: Promise<unknown>
  readonly #waiting = new Set<() => void>()
  #rest: Buffer = Buffer.alloc(0)
  #opened = false
  #marks = 0

  constructor(t: Scope, port: number) {
    this.socket = connect({
      port,
      host: '127.0.0.1',
      servername: 'localhost',
      ALPNProtocols: ['h2'],
      // What is tested is HTTP/2: the certificate is a test's own.
      rejectUnauthorized: false
    })
    this.socket.on('error', () => {})
    this.socket.on('data', (data) => this.#take(data))
    this.closed = new Promise((resolve) => {
      this.socket.on('close', () => {
        this.#look()
        resolve(undefined)
      })
    })
    t.teardown(() => this.socket.destroy())
  }

  /** Opens a connection with the preface and SETTINGS, by which nothing that comes back refers to a table. */
  static open(t: Scope, port: number, ...pairs: readonly (readonly [number, number])[]): FrameClient {
    const client = new FrameClient(t, port)
    client.#opened = true
    client.send(PREFACE, frame(TYPE.settings, 0, 0, settings([1, 0], ...pairs)))
    return client
  }

  /** Whether the connection is over. */
  get over(): boolean {
    return this.socket.destroyed
  }

  /** Sends bytes as they are, in one write; returns whether there is room for more. */
  send(...parts: readonly Buffer[]): boolean {
    return this.socket.writable && this.socket.write(Buffer.concat(parts))
  }

  /** Sends parts as fast as they are taken, until they or the connection end. */
  async flood(parts: Iterable<Buffer>): Promise<void> {
    for (const part of parts) {
      if (!this.socket.writable) return
      if (!this.send(part)) await Promise.race([once(this.socket, 'drain').catch(() => {}), this.closed])
    }
  }

  /** Waits for a frame; undefined where the connection ends without one. */
  frame(test: (frame: Frame) => boolean): Promise<Frame | undefined> {
    return new Promise((resolve) => {
      const look = (): void => {
        const found = this.frames.find(test)
        if (found === undefined && !this.over) return
        this.#waiting.delete(look)
        resolve(found)
      }
      this.#waiting.add(look)
      look()
    })
  }

  /** Waits until all that was sent has been seen by the other side; false where the connection has ended. */
  async seen(): Promise<boolean> {
    const mark = Buffer.from(String(this.#marks++).padStart(8, '0'))
    this.send(frame(TYPE.ping, 0, 0, mark))
    return (
      (await this.frame(
        ({ type, flags, payload }) => type === TYPE.ping && flags === FLAG.ack && payload.equals(mark)
      )) !== undefined
    )
  }

  /** Waits for the head of an answer and tells its status; 0 where there is none. */
  async status(stream: number): Promise<number> {
    const found = await this.frame(
      (each) => each.stream === stream && (each.type === TYPE.headers || each.type === TYPE.reset)
    )
    return found?.type === TYPE.headers ? statusIn(found) : 0
  }

  /** The code of the GOAWAY that tells of an error; undefined where none has come. */
  get goaway(): number | undefined {
    return this.frames.findLast(({ type }) => type === TYPE.goaway)?.payload.readUInt32BE(4)
  }

  /** The code of the RST_STREAM of a stream; undefined where none has come. */
  resetOf(stream: number): number | undefined {
    return this.frames
      .find((each) => each.type === TYPE.reset && each.stream === stream)
      ?.payload.readUInt32BE(0)
  }

  /** How many bytes of DATA have come on a stream. */
  bytesOn(stream: number): number {
    return this.textOn(stream).length
  }

  /** What has come on a stream, a character a byte. */
  textOn(stream: number): string {
    return this.frames
      .filter((each) => each.type === TYPE.data && each.stream === stream)
      .map(({ payload }) => payload.toString('latin1'))
      .join('')
  }

  #take(data: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, data])
    while (this.#rest.length >= HEAD) {
      const length = this.#rest.readUIntBE(0, 3)
      if (this.#rest.length < HEAD + length) break
      const made = {
        type: this.#rest[3] ?? 0,
        flags: this.#rest[4] ?? 0,
        stream: this.#rest.readUInt32BE(5) & 0x7fffffff,
        payload: this.#rest.subarray(HEAD, HEAD + length)
      }
      this.#rest = this.#rest.subarray(HEAD + length)
      this.frames.push(made)
      // Who has opened a connection acknowledges settings.
      if (this.#opened && made.type === TYPE.settings && made.flags === 0)
        this.send(frame(TYPE.settings, FLAG.ack, 0))
    }
    this.#look()
  }

  #look(): void {
    for (const look of this.#waiting) look()
  }
}
