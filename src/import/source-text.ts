import { isUtf8 } from 'node:buffer'
import { readFileSync, statSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { displayPath } from '../lib/display-path.ts'
import { unreadable } from '../lib/unreadable.ts'
import { MARKS } from './values.ts'

/** The config of another gateway, as text. */
export interface SourceText {
  /** Its name in messages. */
  readonly file: string
  /** The folder that it is in; nothing outside of it is read. */
  readonly folder: string
  readonly text: string
}

/** A line of the config of another gateway. */
export interface SourceLine {
  readonly file: string
  readonly line: number
}

/** Ends a translation: the config of the other gateway can't be read or parsed. */
export class ImportError extends Error {
  override readonly name = 'ImportError'
}

/** Returns the error at a line of a source. */
export const errorAt = ({ file, line }: SourceLine, message: string): ImportError =>
  new ImportError(`${file}:${line}: ${message}`)

// The largest public configs that were tried have 100 kB.
const MAX_BYTES = 1024 * 1024

/** Reads a config of another gateway; throws an ImportError if it is missing, empty, longer than 1 MB or not UTF-8. */
export async function readSourceText(name: string): Promise<SourceText> {
  const path = resolve(name)
  const file = displayPath(path)
  const bytes = await readBounded(path).catch((error: unknown) => {
    throw new ImportError(unreadable(file, error))
  })
  const text = textOf(bytes, file)
  if (text.trim() === '') throw new ImportError(`${file}: expected a config, got an empty file`)
  return { file, folder: dirname(path), text }
}

/** Reads a file that a config includes; throws an ImportError as `readSourceText` does. */
export function readIncludedText(path: string, file: string): string {
  const stats = statSync(path)
  if (!stats.isFile()) throw new ImportError(`${file}: expected a file, got a folder or a device`)
  if (stats.size > MAX_BYTES) throw tooLong(file)
  return textOf(readFileSync(path), file)
}

const tooLong = (file: string): ImportError => new ImportError(`${file}: expected at most 1 MB, got more`)

/** Decodes a config; throws an ImportError if it is too long, or no text in UTF-8. */
function textOf(bytes: Buffer, file: string): string {
  if (bytes.length > MAX_BYTES) throw tooLong(file)
  if (bytes.includes(0)) throw new ImportError(`${file}: expected text in UTF-8, got bytes that are not text`)
  if (!isUtf8(bytes))
    throw errorAt({ file, line: lineOfOtherBytes(bytes) }, 'expected text in UTF-8, got other bytes')
  const text = bytes
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .replaceAll('\r\n', '\n')
  if (MARKS.test(text))
    throw new ImportError(
      `${file}: expected text, got a character of the private use area (U+E000 or U+E001)`
    )
  return text
}

/** Returns the first line that is not UTF-8. */
function lineOfOtherBytes(bytes: Buffer): number {
  let line = 1
  for (let start = 0; start < bytes.length; line++) {
    const end = bytes.indexOf(0x0a, start)
    if (end === -1 || !isUtf8(bytes.subarray(start, end))) return line
    start = end + 1
  }
  return line
}

// Configs have some ten levels; parsers of JSON and YAML go as deep as the stack allows.
const MAX_DEPTH = 64

/** Throws an ImportError where braces and brackets of JSON or YAML are in each other more than 64 deep. */
export function checkDepth({ file, text }: SourceText): void {
  let depth = 0
  for (const { 0: mark, index } of text.matchAll(/"(?:\\.|[^"\\\n])*"|[[\]{}]/g)) {
    if (mark === '[' || mark === '{') depth++
    else if ((mark === ']' || mark === '}') && depth > 0) depth--
    if (depth > MAX_DEPTH)
      throw errorAt(
        { file, line: text.slice(0, index).split('\n').length },
        `expected at most ${MAX_DEPTH} levels, got more`
      )
  }
}

async function readBounded(path: string): Promise<Buffer> {
  const handle = await open(path)
  try {
    const buffer = Buffer.alloc(MAX_BYTES + 1)
    let length = 0
    while (length < buffer.length) {
      const { bytesRead } = await handle.read(buffer, length, buffer.length - length, null)
      if (bytesRead === 0) break
      length += bytesRead
    }
    return buffer.subarray(0, length)
  } finally {
    await handle.close()
  }
}
