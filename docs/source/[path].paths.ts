// Pages of the repository outside of docs/ that the documentation links to.
import { readFileSync } from 'node:fs'
import { linkedFiles, sourcePath, withSiteLinks } from '../.vitepress/links.ts'

export default {
  paths: () =>
    linkedFiles()
      .filter((file) => file.endsWith('.md'))
      .map((file) => ({
        params: { path: sourcePath(file) },
        content: withSiteLinks(readFileSync(file, 'utf8'), file)
      }))
}
