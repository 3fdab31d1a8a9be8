import type { Catalog } from '../config/catalog.ts'
import { escapeFiles } from './escape-files.ts'
import { hoist } from './hoist.ts'
import { printTranslation } from './print.ts'
import { readSourceText, type SourceText } from './source-text.ts'
import { Translation } from './translation.ts'
import { validate } from './validate.ts'

/** Translates a config of another gateway, construct by construct; throws an ImportError if it can't be parsed. */
export type Translate = (source: SourceText, translation: Translation) => void | Promise<void>

/** The formats by name. */
const FORMATS = {
  nginx: async () => (await import('./nginx/index.ts')).translateNginx,
  caddy: async () => (await import('./caddy/index.ts')).translateCaddy,
  traefik: async () => (await import('./traefik/index.ts')).translateTraefik,
  kong: async () => (await import('./kong/index.ts')).translateKong,
  krakend: async () => (await import('./krakend/index.ts')).translateKrakend,
  'express-gateway': async () => (await import('./express-gateway/index.ts')).translateExpressGateway
} as const satisfies Readonly<Record<string, () => Promise<Translate>>>

/** The name of a format. */
export type FormatName = keyof typeof FORMATS

/** The names of all formats. */
export const FORMAT_NAMES: readonly string[] = Object.keys(FORMATS)

/** Returns whether a text is the name of a format. */
export const isFormatName = (name: string): name is FormatName => Object.hasOwn(FORMATS, name)

/** Translates a file; what it returns passes `check`, files and variables that are missing aside. */
export async function importFile(
  format: FormatName,
  name: string,
  catalog: Catalog
): Promise<{ text: string; translation: Translation }> {
  const source = await readSourceText(name)
  const translate: Translate = await FORMATS[format]()
  const translation = new Translation()
  translation.from({ file: source.file, line: 1 }, translation.config)
  await translate(source, translation)
  translation.config['routes'] ??= []
  escapeFiles(translation.config)
  await validate(translation, source, catalog)
  hoist(translation)
  await validate(translation, source, catalog)
  return { text: printTranslation(translation, headerOf(format, source, translation)), translation }
}

function headerOf(format: string, { file }: SourceText, { notes, variables }: Translation): string[] {
  const header = [
    `Translated from ${file} by "sallyport import ${format}": read it, then run "sallyport check".`
  ]
  if (notes.length > 0) header.push('What could not be translated is marked with "not translated".')
  if (variables.size > 0) header.push(`Set these variables: ${[...variables.keys()].join(', ')}.`)
  return header
}
