import { realpath, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { text as textOf } from 'node:stream/consumers'
import { ConfigError, showFault } from '../config/fault.ts'
import { isModule, readConfigText } from '../config/read-source.ts'
import { fileError } from '../config/source.ts'
import { displayPath } from '../lib/display-path.ts'
import { CONFIG_OPTION, type Command } from './command.ts'
import { loadEnvFiles } from './env-files.ts'
import { configFiles } from './formatters/config-files.ts'
import { formatText } from './formatters/format-text.ts'
import { CommandError, UsageError } from './outcome.ts'
import { replaceFile } from './replace-file.ts'

export const command: Command = {
  summary: 'formats a config and the files it includes, or FILES; "-" is stdin',
  usage: 'sallyport fmt [FILES] [-c FILE] [--check]',
  options: {
    config: CONFIG_OPTION,
    check: { type: 'boolean', about: 'writes nothing, lists what is not formatted, and then exits with 1' }
  },
  positionals: [],
  variadic: 'FILE',
  async run({ values, positionals }) {
    const isCheck = values['check'] === true
    if (positionals.includes('-')) {
      if (positionals.length > 1) throw new UsageError('expected either "-" or files, got both')
      return formatStdin({ isCheck })
    }
    if (positionals.length > 0 && values['config'] !== undefined)
      throw new UsageError('expected either files or -c, got both')
    const files =
      positionals.length > 0
        ? positionals
        : await configFiles(loadEnvFiles(process.env, values['config']), process.env)
    return formatFiles(files, { isCheck })
  }
}

/** Formats files and prints the names of those that change; a malformed one is left alone, and does not keep the others. */
async function formatFiles(files: readonly string[], { isCheck }: { isCheck: boolean }): Promise<number> {
  let exitCode = 0
  for (const file of files) {
    try {
      if (!(await formatFile(file, { isCheck }))) continue
      process.stdout.write(`${displayPath(resolve(file))}\n`)
      if (isCheck) exitCode = 1
    } catch (error) {
      process.stderr.write(`${linesOf(error)}\n`)
      exitCode = 1
    }
  }
  return exitCode
}

/** Returns whether a file was not formatted. */
async function formatFile(file: string, { isCheck }: { isCheck: boolean }): Promise<boolean> {
  const path = resolve(file)
  const name = displayPath(path)
  if (isModule(path))
    throw fileError(name, 'expected JSON or YAML, got a module; format it like the rest of your code')
  const text = await readConfigText(path, path)
  const formatted = formatText(path, name, text)
  if (formatted === text) return false
  if (isCheck) return true
  // A symbolic link stays one.
  const target = await realpath(path)
  const { mode, uid, gid } = await stat(target)
  await replaceFile(target, formatted, { mode: mode & 0o7777, owner: [uid, gid] })
  return true
}

async function formatStdin({ isCheck }: { isCheck: boolean }): Promise<number> {
  const text = await textOf(process.stdin)
  const path = /^\s*[{/]/.test(text) ? 'stdin.json' : 'stdin.yaml'
  let formatted: string
  try {
    formatted = formatText(path, 'stdin', text)
  } catch (error) {
    throw new CommandError(linesOf(error))
  }
  if (isCheck) return formatted === text ? 0 : 1
  process.stdout.write(formatted)
  return 0
}

function linesOf(error: unknown): string {
  if (error instanceof ConfigError) return error.faults.map(showFault).join('\n')
  if (error instanceof CommandError) return error.message
  throw error
}
