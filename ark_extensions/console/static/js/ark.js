// The console's scripts; each part does nothing on pages that do not have it.
import "./frame.js";
import "./forms.js";
import "./times.js";
import "./create.js";
import "./workspaces.js";
import "./money.js";
import "./ssh.js";
