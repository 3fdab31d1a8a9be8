/** Returns the message for a file that can't be read: it is missing, a folder, or not permitted. */
export function unreadable(file: string, error: unknown): string {
  const { code } = error as NodeJS.ErrnoException
  if (code === 'ENOENT' || code === 'ENOTDIR') return `There is no file ${file}`
  if (code === 'EISDIR') return `expected a file, got the folder ${file}`
  if (code === 'EACCES' || code === 'EPERM') return `The file ${file} can't be read: permission denied`
  return `The file ${file} can't be read (${code ?? String(error)})`
}
