import { readFile } from 'node:fs/promises'
import { isObject } from '../lib/schema.ts'
import { unreadable } from '../lib/unreadable.ts'
import type { Command } from './command.ts'
import { CommandError } from './outcome.ts'
import { replaceFile } from './replace-file.ts'

/** Returns the entries of a file of users or keys, which have a `name` or an `id`; none if there is no file, or an empty one. Throws a CommandError if it is no such list. */
export async function readCallers(file: string, key: 'name' | 'id'): Promise<Record<string, unknown>[]> {
  let content: string
  try {
    content = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new CommandError(unreadable(file, error))
  }
  const entries = listIn(content)
  if (entries === undefined) throw new CommandError(`expected a JSON list in ${file}; nothing was written`)
  if (entries.some((entry) => !isObject(entry) || entry[key] === undefined))
    throw new CommandError(
      `expected ${key === 'id' ? 'API keys' : 'users'}, each with ${key === 'id' ? 'an "id"' : 'a "name"'}, in ${file}, got something else; name another file with --file`
    )
  return entries as Record<string, unknown>[]
}

function listIn(content: string): unknown[] | undefined {
  const text = content.replace(/^\uFEFF/, '').trim()
  if (text === '') return []
  try {
    const entries: unknown = JSON.parse(text)
    return Array.isArray(entries) ? entries : undefined
  } catch {
    return undefined
  }
}

/** Returns what is wrong with the first argument of a command whose only action is "add". */
export const wrongAction = (action: string | undefined, { usage }: Pick<Command, 'usage'>): string =>
  action === undefined || action === 'add'
    ? `usage: ${usage}`
    : `expected "add", got "${action}"; usage: ${usage}`

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
