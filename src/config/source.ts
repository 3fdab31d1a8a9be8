import { ConfigError, type Fault, type Path, type Place, showPath } from './fault.ts'

/** A config file as written: its value, and the place of each part. */
export interface Source {
  /** The name of the file in messages, relative to the working directory. */
  readonly file: string
  /** The folder that names of files in it are relative to. */
  readonly folder: string
  readonly value: unknown
  /** Returns the place of the key or list item at a path, from the text of the file; if it does not exist, of the nearest outer one. */
  readonly at: (path: Path) => Place
}

/** Returns the source of a config that is an object, as in embedding programs and tests. */
export function objectSource(value: unknown, file = 'config', folder: string = process.cwd()): Source {
  return { file, folder, value, at: () => ({ file }) }
}

/** Returns the error at a path of a source. */
export function faultAt(source: Source, path: Path, message: string): Fault {
  return { ...source.at(path), path: showPath(path), message }
}

/** Returns a function that finds a place when it is asked for; it keeps the text of the file, and not its value. */
export function placeLater({ at }: Source, path: Path): () => Place {
  return () => at(path)
}

/** Returns the error for a file that cannot be read as a whole. */
export const fileError = (file: string, message: string): ConfigError =>
  new ConfigError([{ file, path: '', message }])

/** Returns the first line of an error's message. */
export const firstLine = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).split('\n', 1)[0] ?? ''
