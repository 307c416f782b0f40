// Claims each data folder that it is told of, and says what came of it.
import { claimDataDir } from './data-dir.ts'

process.on('message', (dataDir: string) => process.send?.(claimDataDir(dataDir, '127.0.0.1:1').kind))
