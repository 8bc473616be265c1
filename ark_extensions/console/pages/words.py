"""The words of the pages that are chosen by a value (a state, a reason), and the sentences that our scripts say.

Each is an English msgid; the catalogue holds the other languages.
"""

from __future__ import annotations

from ark_extensions.web.i18n import _

STATES = {
    "creating": _("Creating"),
    "starting": _("Starting"),
    "running": _("Running"),
    "stopping": _("Stopping"),
    "stopped": _("Stopped"),
    "failed": _("Did not start"),
    "released": _("Released"),
}

CLOSE_REASONS = {
    "user": _("You stopped it"),
    "deadline": _("Auto-stop time reached"),
    "idle": _("Idle"),
    "wallet": _("Balance used up"),
    "budget": _("Budget used up"),
    "operator": _("An administrator stopped it"),
    "shutdown": _("The platform was shut down"),
    "exited": _("It ended by itself"),
    "failed_start": _("It did not start"),
    "lost": _("Its machine was lost"),
    "term": _("Monthly compute expired"),
    "hub": _("Stopped from the Hub's pages"),
}

KINDS = {
    "gift": _("Credit"),
    "recharge": _("Recharge"),
    "charge_compute": _("Compute"),
    "charge_disk": _("Data disk"),
    "charge_term": _("Monthly compute"),
    "charge_netdisk": _("Netdisk"),
    "refund": _("Refund"),
    "correct": _("Correction"),
    "expire": _("Credit expired"),
    "convert": _("Compute given up"),
    "revenue": _("Revenue"),
    "…": _("Others"),
}

#: ways to pay in
PROVIDERS = {"manual": _("Bank transfer"), "stripe": _("Card (Stripe)"), "alipay": _("Alipay")}

RECHARGE_STATES = {"pending": _("Waiting"), "paid": _("Paid"), "cancelled": _("Cancelled"), "all": _("All")}

#: what operators do, in the record of their acts
ACTS = {
    "credit": _("Credit"),
    "refund": _("Refund"),
    "correct": _("Correction"),
    "freeze": _("Wallet frozen"),
    "unfreeze": _("Wallet freed"),
    "vouchers": _("Vouchers made"),
    "price": _("Price set"),
    "confirm_transfer": _("Transfer confirmed"),
    "convert": _("Compute given up"),
    "resume_posting": _("Posting resumed"),
}

#: where a notice leads
PLACES = {"recharge": _("Recharge"), "assets": _("My compute"), "wallet": _("Wallet"), "admin/money": _("Money")}

#: who acts, when it is no person
ACTORS = {
    "platform": _("the platform"),
    "billing": _("billing"),
    "autostop": _("auto-stop"),
    "reconcile": _("reconciliation"),
}

#: memos that the platform itself writes into the journal
MEMOS = {"opening credit": _("Opening credit")}

ERROR_SENTENCES = {
    400: _("This address or form is not as the console expects it. Go back and try again."),
    403: _("This page is not for your account. Sign in with another one, or ask an administrator."),
    404: _("There is nothing at this address, or it is not yours to see."),
    500: _("Something went wrong on our side. It was written to the log; try again in a moment."),
    503: _("A part of the platform does not answer now. Try again in a moment."),
}

#: what the scripts say; `ark.js` reads them from a JSON block in the page
BROWSER_WORDS = {
    "offline": _("No answer from the platform. Check the connection, then try again."),
    "session_ended": _("Your session has ended. Sign in again, then repeat what you did."),
    "sign_in": _("Sign in"),
    "sending": _("Sending…"),
    "loading": _("One moment…"),
    "close": _("Close"),
    "copied": _("Copied."),
    "copy_failed": _("The browser did not let us copy. Select the text and copy it yourself."),
    "live": _("Live"),
    "reconnecting": _("Connection lost. Reconnecting…"),
    "due": _("now"),
    "days_hours": _("{days} d {hours} h"),
    "days": _("{days} d"),
    "hours": _("{hours} h"),
    "hours_minutes": _("{hours} h {minutes} min"),
    "minutes": _("{minutes} min"),
    "seconds": _("{seconds} s"),
    "over_10_years": _("over 10 years"),
    "started": _("{name} is starting."),
    "stopping": _("{name} is stopping."),
    "released": _("{name} was released. It can be restored until the date shown in its row."),
    "restored": _("{name} is back. Its files are as they were."),
    "auto_stop_set": _("Auto-stop was changed."),
    "auto_stop_off": _("Auto-stop is off. The workspace runs until you stop it."),
    "credited": _("The credit was posted."),
    "state_now": _("{name}: {state}"),
    "choose_time": _("Choose a date and time."),
    "choose_hours": _("Give the hours as a number, at least 0.1."),
    "bought": _("It is yours. You find it under My compute."),
    "renewed": _("The term was renewed."),
    "auto_renew_on": _("It renews by itself, a day before its end."),
    "auto_renew_off": _("It does not renew by itself any more."),
    "disk_grown": _("The data disk of {name} is larger now."),
    "budget_set": _("The budget of {name} was changed."),
    "redeemed": _("{credit} were added to your wallet."),
    "recharge_begun": _("The recharge waits for your transfer."),
    "recharge_cancelled": _("The recharge was cancelled."),
    "recharge": _("Recharge"),
    "refunded": _("The refund was posted."),
    "corrected": _("The correction was posted."),
    "wallet_changed": _("The wallet of {name} was changed."),
    "transfer_confirmed": _("The transfer of {name} was confirmed."),
    "vouchers_made": _("The vouchers were made. Copy the codes now: they are not shown again."),
    "price_set": _("The price was set."),
    "account_saved": _("Saved."),
    "converted": _("{name} was given up. The money is in your wallet."),
    "posting_resumed": _("Posting goes on."),
    "ssh_key_added": _("The key {name} works now."),
    "ssh_key_deleted": _("The key {name} was deleted. What it had opened ends within seconds."),
    "ssh_ended": _("Your SSH connections end within seconds."),
    "ssh_starts": _("A connection starts a stopped workspace from now on."),
    "ssh_starts_not": _("A connection starts nothing any more."),
    "no_cost": _("nothing"),
    "unlimited": _("nothing is being used up"),
}
