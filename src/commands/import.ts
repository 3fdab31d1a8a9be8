import { writeFile } from 'node:fs/promises'
import { catalog } from '../gateway/catalog.ts'
import { FORMAT_NAMES, importFile, isFormatName } from '../import/index.ts'
import { ImportError } from '../import/source-text.ts'
import type { Translation } from '../import/translation.ts'
import type { Command } from './command.ts'
import { CommandError, UsageError } from './outcome.ts'

export const command: Command = {
  summary: 'translates a config of another gateway, with comments where that is not possible',
  usage: `sallyport import ${FORMAT_NAMES.join('|')} FILE [-o OUT]`,
  options: {
    output: {
      type: 'string',
      short: 'o',
      value: 'FILE',
      about: 'the config to write, which must not exist; by default stdout'
    }
  },
  positionals: [FORMAT_NAMES, 'FILE'],
  async run({ positionals: [format = '', file], values: { output } }) {
    if (!isFormatName(format))
      throw new UsageError(
        `expected one of ${FORMAT_NAMES.join(', ')}, got "${format}"; usage: ${command.usage}`
      )
    if (file === undefined) throw new UsageError(`expected a file; usage: ${command.usage}`)
    if (typeof output === 'string' && !/\.jsonc?$/.test(output))
      throw new UsageError(`--output: expected a name that ends in .json or .jsonc, got "${output}"`)
    const { text, translation } = await importFile(format, file, catalog).catch(throwImportError)
    if (typeof output === 'string') await writeNew(output, text)
    else process.stdout.write(text)
    process.stderr.write(summaryOf(translation))
    return 0
  }
}

function throwImportError(error: unknown): never {
  throw error instanceof ImportError ? new CommandError(error.message) : error
}

/** Writes a file that does not exist yet. */
async function writeNew(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { flag: 'wx' })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new CommandError(
      code === 'EEXIST'
        ? `There is a ${file} already; nothing was written`
        : `${file} can't be written (${code ?? String(error)})`
    )
  }
}

function summaryOf({ translated, total, notes }: Translation): string {
  const count = `translated ${translated} of ${total} constructs`
  if (notes.length === 0) return `${count}\n`
  const lines = notes.map(({ file, line, text }) => `${file}:${line}: ${text}\n`)
  return `${count}; ${notes.length === 1 ? '1 needs' : `${notes.length} need`} your hand\n${lines.join('')}`
}
