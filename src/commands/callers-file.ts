import { readFile } from 'node:fs/promises'
import { CommandError } from './outcome.ts'
import { replaceFile } from './replace-file.ts'

/** Returns the entries of a file of users or keys; none if there is no file. Throws a CommandError if it is no list. */
export async function readCallers(file: string): Promise<Record<string, unknown>[]> {
  let content: string
  try {
    content = await readFile(file, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return []
    throw new CommandError(`${file} can't be read (${code})`)
  }
  try {
    const entries: unknown = JSON.parse(content)
    if (Array.isArray(entries)) return entries as Record<string, unknown>[]
  } catch {
    // The message is the same.
  }
  throw new CommandError(`expected a JSON list in ${file}; nothing was written`)
}

/** Replaces a file of users or keys as a whole, so that a running gateway never reads a part of it. */
export async function writeCallers(file: string, entries: readonly object[]): Promise<void> {
  const lines = entries.map((entry) => `  ${JSON.stringify(entry)}`)
  await replaceFile(file, `[\n${lines.join(',\n')}\n]\n`, { mode: 0o600 })
}

/** Splits a list such as "admin,staff". */
export const listOption = (value: unknown): string[] =>
  String(value ?? '')
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
