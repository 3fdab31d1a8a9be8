/** Says why a file can't be read, for a person who wrote its name: there is none, it is a folder, or this process may not. */
export function unreadable(file: string, error: unknown): string {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOENT' || code === 'ENOTDIR') return `There is no file ${file}`
  if (code === 'EISDIR') return `expected a file, got the folder ${file}`
  if (code === 'EACCES' || code === 'EPERM')
    return `The file ${file} can't be read: this process has no right to`
  return `The file ${file} can't be read (${code ?? String(error)})`
}
